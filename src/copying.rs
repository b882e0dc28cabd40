//! One copy while it runs: its bar, its events, its result; as text for people or as JSON.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sft_client::{
    Blame, Code, Counters, Event, EventSink, Shares, Summary, TransferError, Transport, WireError,
};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::amount::Took;
use crate::attributed::{Attributed, blamed, blamed_key};
use crate::exit::Exit;
use crate::failure::{entry_line, exit_of_entry};
use crate::names::{put_error, put_path};
use crate::progress::{Bar, Snapshot};
use crate::told::{Failure, Told};
use crate::voice::Voice;

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Copying {
    voice: Voice,
    counters: Arc<Counters>,
    events: mpsc::Receiver<Event>,
    bar: Option<Bar>,
    begun: Instant,
    /// Before it is, somebody may be asked something, and nothing is drawn over that.
    connected: bool,
    told: Told,
    /// Since when nothing has moved, and who is waited for.
    stalled: Option<(Instant, String)>,
    /// When it was over, where something was asked afterwards.
    over: Option<Instant>,
    /// How long it took to connect.
    connecting: Option<Duration>,
    /// What the server's end waited for.
    far: Option<Shares>,
    processor: Duration,
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// With which code.
    pub exit: Exit,
    /// Whether anything of it is in place.
    pub landed: bool,
}

impl Copying {
    /// Begins to watch what the sink is told.
    pub(crate) fn new(voice: Voice) -> (Self, EventSink) {
        let (sink, events) = EventSink::new();
        let counters = sink.counters().clone();
        let bar = voice.draws().then(Bar::new);
        let told = Told::new(voice.tells_all());
        let copying = Self {
            voice,
            counters,
            events,
            bar,
            begun: Instant::now(),
            connected: false,
            told,
            stalled: None,
            over: None,
            connecting: None,
            far: None,
            processor: processor_time(),
        };
        (copying, sink)
    }

    /// Runs the transfer to its end, telling how it goes.
    pub(crate) async fn run(
        mut self,
        transfer: impl Future<Output = Result<Summary, TransferError>>,
    ) -> anyhow::Result<Copied> {
        let mut transfer = std::pin::pin!(transfer);
        let mut tick = interval(if self.voice.json() { OBJECT_EVERY } else { DRAW_EVERY });
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first tick comes at once, before there is anything to tell.
        tick.tick().await;
        let summary = loop {
            tokio::select! {
                summary = &mut transfer => break summary?,
                Some(event) = self.events.recv() => self.tell(event)?,
                _ = tick.tick() => self.show()?,
            }
        };
        while let Ok(event) = self.events.try_recv() {
            self.tell(event)?;
        }
        let exit = self.finish(&summary)?;
        Ok(Copied { exit, landed: summary.committed + summary.unchanged > 0 })
    }

    fn show(&mut self) -> anyhow::Result<()> {
        if !self.connected {
            return Ok(());
        }
        let snapshot = Snapshot::of(&self.counters);
        if let Some(bar) = &mut self.bar {
            let stalled = self.stalled.as_ref().map(|(since, whom)| (since.elapsed(), whom.as_str()));
            bar.update(&snapshot, stalled);
        }
        if self.voice.json() {
            self.voice.object(progress_object(&snapshot))?;
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) -> anyhow::Result<()> {
        self.follow(&event);
        if let Event::Connected { at } = event {
            self.connected = true;
            self.connecting = Some(at - self.begun);
            // What a person took to answer is no part of how long the copy took.
            self.begun = at;
        }
        if let Event::Failed { path, .. } = &event {
            match self.told.note(path) {
                Failure::First => {}
                Failure::Again | Failure::Below => return Ok(()),
            }
        }
        if self.voice.json() {
            return match event {
                // It is in the result.
                Event::Over { .. } | Event::FarTimes { .. } => Ok(()),
                event => self.voice.object(event_object(&event)),
            };
        }
        if self.bar.is_some() && matches!(event, Event::Stalled { .. }) {
            // The bar says so.
            return Ok(());
        }
        let voice = self.voice;
        let tell = || match event {
            Event::Failed { path, error } => voice.warn(&entry_line(&error, &path)),
            Event::Unapplied { path, attribute, error } => {
                voice.note(&unapplied_line(&path, &attribute, &error))
            }
            Event::LaneUp { transport } => voice.detail(&format!("lane up: {}", lane_name(transport))),
            Event::LaneDown { transport, reason } => {
                voice.detail(&format!("lane down: {}: {reason}", lane_name(transport)));
            }
            Event::Reconnecting { silent, reason } => voice.note(&reconnecting_line(silent, &reason)),
            Event::Reconnected => voice.note("connected again, and going on"),
            Event::Stalled { since, blame } => voice.note(&stalled_line(since, &blame)),
            Event::Connected { .. } | Event::Moving | Event::Over { .. } | Event::FarTimes { .. } => {}
        };
        match &self.bar {
            Some(bar) => bar.say(tell),
            None => tell(),
        }
        Ok(())
    }

    /// Takes note of what is shown for as long as it lasts.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Stalled { since, blame } => self.stalled = Some((*since, blamed(blame))),
            Event::Moving | Event::Reconnecting { .. } | Event::Reconnected => self.stalled = None,
            Event::Over { at } => self.over = Some(*at),
            Event::FarTimes { shares } => self.far = Some(*shares),
            _ => {}
        }
    }

    fn finish(mut self, summary: &Summary) -> anyhow::Result<Exit> {
        self.bar = None;
        let snapshot = Snapshot::of(&self.counters);
        let took = self.over.unwrap_or_else(Instant::now).saturating_duration_since(self.begun);
        let exit = exit_of(summary);
        let attributed = Attributed::of(&self.counters.times.shares(), self.far.as_ref());
        let processor = processor_time().saturating_sub(self.processor);
        if self.voice.json() {
            let mut object = result_object(summary, &snapshot, took, exit);
            object.insert("waited".into(), Value::Object(attributed.object()));
            object.insert("processor_seconds".into(), processor.as_secs_f64().into());
            self.voice.object(object)?;
            return Ok(exit);
        }
        let rest = self.told.rest(summary.failed);
        if let Some(rest) = rest {
            self.voice.warn(&rest);
        }
        self.voice.note(&snapshot.last_line(summary, took));
        let connecting =
            self.connecting.map_or_else(String::new, |took| format!("connecting took {}; ", Took(took)));
        let busy = processor.as_secs_f64() * 100.0 / took.as_secs_f64().max(1e-9);
        self.voice.detail(&format!(
            "where the time went: {}; {connecting}sft kept a processor busy for {busy:.0} % of the time",
            attributed.line()
        ));
        Ok(exit)
    }
}

/// How a copy with failures ends: as the worst of them, but refused only if nothing else came of it.
fn exit_of(summary: &Summary) -> Exit {
    if summary.failed == 0 {
        return Exit::Done;
    }
    let exits = || summary.failures.iter().map(|(_, error)| exit_of_entry(error));
    if exits().any(|exit| exit == Exit::Integrity) {
        return Exit::Integrity;
    }
    let nothing_else = summary.committed + summary.unchanged == 0;
    if nothing_else && exits().all(|exit| exit == Exit::Refused) { Exit::Refused } else { Exit::SomeFailed }
}

fn unapplied_line(path: &sft_base::EntryPath, attribute: &str, error: &WireError) -> String {
    if attribute == "set-id" && error.code == Code::DENIED {
        return format!(
            "{path}: set-user-ID and set-group-ID bits were left out; --keep-setid keeps them in a download"
        );
    }
    format!("{path}: its {attribute} could not be set: {error}")
}

fn reconnecting_line(silent: Duration, reason: &str) -> String {
    match silent.as_secs() {
        0 => format!("the connection was lost, connecting again: {reason}"),
        seconds => format!("no connection for {seconds} s, trying again: {reason}"),
    }
}

fn stalled_line(since: Instant, blame: &Blame) -> String {
    format!("nothing has moved for {} s: waiting for {}", since.elapsed().as_secs(), blamed(blame))
}

/// What all threads of this process have used.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

fn lane_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
}

fn event_object(event: &Event) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    match event {
        Event::Failed { path, error } => {
            put("event", "failed".into());
            put_error(&mut object, error);
            put_path(&mut object, path.as_bytes());
        }
        Event::Unapplied { path, attribute, error } => {
            put("event", "unapplied".into());
            put("attribute", attribute.clone().into());
            put_error(&mut object, error);
            put_path(&mut object, path.as_bytes());
        }
        Event::LaneUp { transport } => {
            put("event", "lane-up".into());
            put("transport", lane_name(*transport).into());
        }
        Event::LaneDown { transport, reason } => {
            put("event", "lane-down".into());
            put("transport", lane_name(*transport).into());
            put("reason", reason.clone().into());
        }
        Event::Reconnecting { silent, reason } => {
            put("event", "reconnecting".into());
            put("silent_ms", (silent.as_millis() as u64).into());
            put("reason", reason.clone().into());
        }
        Event::Reconnected => {
            put("event", "reconnected".into());
        }
        Event::Connected { .. } => {
            put("event", "connected".into());
        }
        Event::Stalled { since, blame } => {
            put("event", "stalled".into());
            put("silent_ms", (since.elapsed().as_millis() as u64).into());
            put("waiting_for", blamed_key(blame).into());
            put("text", blamed(blame).into());
            if let Blame::Here { path: Some(path), .. } = blame {
                put_path(&mut object, path.as_bytes());
            }
        }
        Event::Moving => {
            put("event", "moving".into());
        }
        Event::Over { .. } | Event::FarTimes { .. } => {}
    }
    object
}

fn progress_object(snapshot: &Snapshot) -> Map<String, Value> {
    let Snapshot { entries, bytes, complete, settled, kept, moved, .. } = *snapshot;
    object_of(json!({
        "event": "progress", "entries": entries, "bytes": bytes, "complete": complete,
        "settled": settled, "bytes_kept": kept, "bytes_moved": moved,
    }))
}

fn result_object(summary: &Summary, snapshot: &Snapshot, took: Duration, exit: Exit) -> Map<String, Value> {
    object_of(json!({
        "event": "result",
        "committed": summary.committed, "unchanged": summary.unchanged, "failed": summary.failed,
        "unapplied": summary.unapplied,
        "bytes_kept": snapshot.kept, "bytes_moved": snapshot.moved,
        "bytes_quic": snapshot.quic, "bytes_tcp": snapshot.tcp,
        "seconds": took.as_secs_f64(), "exit": exit.code(),
    }))
}

fn object_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

const DRAW_EVERY: Duration = Duration::from_millis(100);
const OBJECT_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use sft_base::EntryPath;

    fn summary(committed: u64, codes: &[Code]) -> Summary {
        let failures = codes.iter().map(|code| (EntryPath::root(), code.because("no"))).collect();
        Summary { committed, failed: codes.len() as u64, failures, ..Summary::default() }
    }

    #[test]
    fn the_worst_failure_is_the_exit() {
        let cases = [
            (summary(1, &[]), Exit::Done),
            (summary(1, &[Code::READ]), Exit::SomeFailed),
            (summary(1, &[Code::READ, Code::INTEGRITY]), Exit::Integrity),
            (summary(1, &[Code::DENIED]), Exit::SomeFailed),
            (summary(0, &[Code::DENIED, Code::DENIED]), Exit::Refused),
            (summary(0, &[Code::DENIED, Code::NO_SPACE]), Exit::SomeFailed),
        ];
        for (summary, exit) in cases {
            assert_eq!(exit_of(&summary), exit, "{summary:?}");
        }
    }

    #[test]
    fn events_are_objects() {
        let event = |event| Value::Object(event_object(&event)).to_string();
        let failed = Event::Failed {
            path: EntryPath::from_typed(b"a/b").unwrap(),
            error: Code::NO_SPACE.because("the disk is full"),
        };
        assert_eq!(
            event(failed),
            r#"{"code":"no-space","event":"failed","path":"a/b","retry":true,"text":"the disk is full"}"#
        );
        let up = Event::LaneUp { transport: Transport::Tcp };
        assert_eq!(event(up), r#"{"event":"lane-up","transport":"tcp"}"#);
        let again = Event::Reconnecting { silent: Duration::from_millis(1500), reason: "gone".into() };
        assert_eq!(event(again), r#"{"event":"reconnecting","reason":"gone","silent_ms":1500}"#);
    }

    #[test]
    fn the_result_is_an_object() {
        let snapshot = Snapshot { kept: 1, moved: 4, quic: 2, tcp: 3, ..Snapshot::default() };
        let object =
            result_object(&summary(4, &[Code::READ]), &snapshot, Duration::from_secs(2), Exit::SomeFailed);
        assert_eq!(
            Value::Object(object).to_string(),
            r#"{"bytes_kept":1,"bytes_moved":4,"bytes_quic":2,"bytes_tcp":3,"committed":4,"event":"result","exit":1,"failed":1,"seconds":2.0,"unapplied":0,"unchanged":0}"#
        );
    }

    #[test]
    fn dropped_set_id_bits_are_told_with_the_way_to_keep_them() {
        let path = EntryPath::from_typed(b"a").unwrap();
        let line = unapplied_line(&path, "set-id", &Code::DENIED.because("not taken over"));
        assert!(line.contains("--keep-setid"), "{line}");
        let line = unapplied_line(&path, "mode", &Code::PERMISSION.because("not yours"));
        assert_eq!(line, "a: its mode could not be set: not yours");
    }
}
