//! Tells the C library's allocator to give large buffers back: the one system call that Rust has no safe word for.

/// Buffers of half a mebibyte and more go back to the system when they are freed, from here on.
///
/// Left alone, glibc raises that bound to the size of the buffers it has seen, and keeps those that are free in the arena
/// of each thread: a server with 64 clients peaked at 115 to 133 MiB, of which a third was nobody's. Call it before there
/// are threads. Elsewhere than on glibc it does nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn give_back_large_buffers() {
    // SAFETY: `mallopt` takes two integers and keeps no pointer. It must not run beside other calls of itself or the first
    // allocation of a thread; the caller has no other thread yet.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
}

/// Other allocators are not known to need it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_large_buffers() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 512 << 10;
