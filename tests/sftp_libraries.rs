//! Promise: the SFTP libraries of Python find all that they ask for: many requests at once, many handles at once, every
//! extension (spec/doors.md, "SFTP"). asyncssh and paramiko, as Debian packages them.

use std::time::Duration;

use sft_testkit::World;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a script with the port and the key for arguments; it says what it has done.
#[track_caller]
fn run(script: &str) {
    let world = World::new(SFT);
    assert_eq!(world.start_python(script).wait(PATIENCE).done().out(), "fine\n");
}

#[test]
fn asyncssh_finds_all_that_it_knows_to_ask_for() {
    run(ASYNCSSH);
}

const ASYNCSSH: &str = r#"
import asyncio, os, sys, asyncssh

async def many_requests(sftp):
    data = os.urandom(16 << 20)
    async with sftp.open("/large", "wb") as f:
        await f.write(data)
    async with sftp.open("/large", "rb", block_size=16384, max_requests=1024) as f:
        assert await f.read() == data
    # Thousands at once, each answered with its own.
    async with sftp.open("/large", "rb", block_size=0) as f:
        parts = await asyncio.gather(*(f.read(4096, at) for at in range(0, len(data), 4096)))
    assert len(parts) == 4096 and b"".join(parts) == data

async def many_handles(sftp):
    contents = {f"/h{n}": os.urandom(1000 + n) for n in range(200)}
    files = {name: await sftp.open(name, "w+b") for name in contents}
    await asyncio.gather(*(files[name].write(content) for name, content in contents.items()))
    got = await asyncio.gather(*(file.read(-1, 0) for file in files.values()))
    assert got == list(contents.values())
    await asyncio.gather(*(file.close() for file in files.values()))
    for name, content in contents.items():
        async with sftp.open(name, "rb") as f:
            assert await f.read() == content
    assert {f"h{n}" for n in range(200)} < set(await sftp.listdir("/"))

async def every_extension(sftp):
    async with sftp.open("/a", "wb") as f:
        await f.write(b"content")
        await f.fsync()
        assert (await f.statvfs()).bsize > 0
    assert (await sftp.statvfs("/")).blocks > 0
    await sftp.link("/a", "/b")
    async with sftp.open("/c", "wb") as f:
        await f.write(b"to be replaced")
    await sftp.posix_rename("/b", "/c")
    async with sftp.open("/c") as f:
        assert await f.read() == "content"
    # To a server that does not call itself OpenSSH it sends them as the draft has them, which is not as all others do.
    await sftp.symlink("/l", "a")
    assert await sftp.readlink("/l") == "a" and await sftp.realpath("/l") == "/a"
    await sftp.truncate("/a", 3)
    await sftp.chmod("/a", 0o640)
    await sftp.utime("/a", times=(7, 8))
    attrs = await sftp.stat("/a")
    assert (attrs.size, attrs.mtime, attrs.permissions & 0o777) == (3, 8, 0o640)
    try:
        await sftp.rename("/a", "/c")
        sys.exit("it is there already")
    except asyncssh.SFTPFailure:
        pass
    for missing in (sftp.stat("/no"), sftp.open("/no"), sftp.listdir("/no"), sftp.remove("/no")):
        try:
            await missing
            sys.exit("it is not there")
        except asyncssh.SFTPNoSuchFile:
            pass

async def trees(sftp):
    os.makedirs("tree/deep/er")
    for n in range(50):
        open(f"tree/deep/{n}", "wb").write(os.urandom(n * 100))
    await sftp.put("tree", "/tree", recurse=True, preserve=True)
    await sftp.get("/tree", "back", recurse=True, preserve=True)
    for n in range(50):
        assert open(f"back/deep/{n}", "rb").read() == open(f"tree/deep/{n}", "rb").read()
    assert os.path.isdir("back/deep/er")
    assert len(await sftp.glob("/tree/deep/*")) == 51
    await sftp.rmtree("/tree")
    assert not await sftp.exists("/tree")

async def main():
    options = dict(port=int(sys.argv[1]), username="x", client_keys=[sys.argv[2]], known_hosts=None, config=None)
    async with asyncssh.connect("127.0.0.1", **options) as connection:
        async with connection.start_sftp_client() as sftp:
            for part in (many_requests, many_handles, every_extension, trees):
                await part(sftp)
    print("fine")

asyncio.run(main())
"#;

#[test]
fn paramiko_asks_for_much_at_once() {
    run(PARAMIKO);
}

const PARAMIKO: &str = r#"
import hashlib, os, sys, threading, paramiko
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="x", pkey=key)
sftp = paramiko.SFTPClient.from_transport(transport)
data = os.urandom(64 << 20)
with sftp.open("/large", "wb") as f:
    f.set_pipelined(True)
    f.write(data)
    assert f.stat().st_size <= len(data)
assert sftp.stat("/large").st_size == len(data)
# All of its 2,048 requests go out before the first answer is looked at.
with sftp.open("/large", "rb") as f:
    f.prefetch(len(data))
    assert f.read() == data
with sftp.open("/large", "rb") as f:
    parts = [(at, 1000) for at in range(0, len(data), 64_000)]
    assert list(f.readv(parts)) == [data[at:at + 1000] for at, _ in parts]
    # By any name of the hash, in blocks, and of a part.
    assert f.check("sha256", 0, 0, 0) == hashlib.sha256(data).digest()
    blocks = f.check("sha256", 0, 1 << 20, 65536)
    assert blocks == b"".join(hashlib.sha256(data[at:at + 65536]).digest() for at in range(0, 1 << 20, 65536))

# Several threads, each with a session of its own: they cannot share one in this library.
wrong = []
def work(number):
    name, content = f"/t{number}", os.urandom(500_000 + number)
    try:
        own = paramiko.SFTPClient.from_transport(transport)
        for _ in range(3):
            with own.open(name, "wb") as f:
                f.write(content)
            with own.open(name, "rb") as f:
                f.prefetch(len(content))
                assert f.read() == content
    except Exception as error:
        wrong.append((number, repr(error)))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not wrong, wrong

with sftp.open("/a", "ab") as f:
    f.write(b"one")
with sftp.open("/a", "ab") as f:
    f.write(b"two")
assert sftp.open("/a").read() == b"onetwo"
try:
    sftp.open("/a", "xb")
    sys.exit("it is there already")
except IOError:
    pass
sftp.chdir("/")
assert sftp.getcwd() == "/"
for n in range(3000):
    sftp.open(f"/n{n}", "wb").close()
assert len([name for name in sftp.listdir() if name.startswith("n")]) == 3000
assert len(list(sftp.listdir_iter("/", read_aheads=50))) >= 3000
print("fine")
"#;
