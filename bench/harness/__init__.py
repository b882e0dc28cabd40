"""Side-by-side measurements of sft and its rivals. `bench/run` is the way in; bench/README.md says what is measured."""
