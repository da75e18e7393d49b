//! The program's allocator: one arena, handed out from front to back.
//!
//! A command lives for milliseconds, so nothing is given back to the kernel; freed blocks are kept in lists by
//! size for reuse. One known range has two uses: the pages that a command will need are made present in one call
//! instead of by a page fault each ([`populate`]), and a waiting init can drop it whole (`sys::waiting`).

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Address space for all of the program's memory, of which only touched pages cost anything; less where the caller
/// limits it (`ulimit -v`).
const ARENAS: [usize; 4] = [1 << 30, 64 << 20, 8 << 20, 1 << 20];
/// Blocks from this size on may be cut up for smaller ones.
const LARGE: usize = 256;
/// Blocks up to this size are reused by size class (powers of two from 16 bytes).
const CLASSES: usize = 20;

/// The program's global allocator (set in `main.rs` only; tests have the system's).
#[derive(Debug)]
pub struct Arena;

static HEAP: Heap = Heap::new();

/// One arena.
#[derive(Debug)]
struct Heap {
    locked: AtomicBool,
    state: UnsafeCell<State>,
}

#[derive(Debug)]
struct State {
    start: usize,
    /// How many bytes from there on were made present.
    present: usize,
    next: usize,
    end: usize,
    free: [*mut u8; CLASSES],
    /// What is left of a large block that was given back: small blocks are cut from it. Vectors that grow leave
    /// such blocks, and a page used twice is a page fault less.
    spare: (usize, usize),
}

// SAFETY: `state` is only reached while `locked` is held.
unsafe impl Sync for Heap {}

impl Heap {
    /// Maps its memory at the first allocation.
    const fn new() -> Self {
        let state =
            State { start: 0, present: 0, next: 0, end: 0, free: [null_mut(); CLASSES], spare: (0, 0) };
        Self { locked: AtomicBool::new(false), state: UnsafeCell::new(state) }
    }

    fn with<R>(&self, body: impl FnOnce(&mut State) -> R) -> R {
        while self.locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: the lock is held, so this is the only reference.
        let result = body(unsafe { &mut *self.state.get() });
        self.locked.store(false, Ordering::Release);
        result
    }

    fn populate(&self, length: usize) {
        self.with(|state| {
            if length > 0 && state.start != 0 && state.start + length <= state.end {
                // SAFETY: within our own mapping. An older kernel than 5.14 refuses, and pages come by faults.
                unsafe { libc::madvise(state.start as *mut libc::c_void, length, libc::MADV_POPULATE_WRITE) };
                state.present = length;
            }
        });
    }

    fn give_up_reserve(&self) {
        self.with(|state| {
            let keep = (state.next + SPARE).next_multiple_of(4096);
            if keep < state.end {
                // SAFETY: the range lies in our own mapping, above every block handed out, and none will be made
                // there once `end` is lowered.
                unsafe { libc::munmap(keep as *mut libc::c_void, state.end - keep) };
                state.end = keep;
            }
        });
    }

    /// The arena's pages that may have been touched, as address and length.
    fn touched(&self) -> (usize, usize) {
        self.with(|state| (state.start, (state.next - state.start).max(state.present)))
    }
}

/// Kept by [`give_up_reserve`]: what a child may still allocate.
const SPARE: usize = 1 << 20;

/// Makes the first `length` bytes present: what the command at hand will use.
pub fn populate(length: usize) {
    HEAP.populate(length);
}

/// Unmaps what of the arena was never handed out, but for 1 MiB: the kernel counts the whole reservation
/// against RLIMIT_AS and RLIMIT_DATA (getrlimit(2)), and would refuse every later mapping and growth of the stack.
pub fn give_up_reserve() {
    HEAP.give_up_reserve();
}

/// The heap's pages that may have been touched, as address and length; nothing (0, 0) before the first allocation.
pub(super) fn touched() -> (usize, usize) {
    match HEAP.touched() {
        (0, _) => (0, 0),
        range => range,
    }
}

impl State {
    fn map(&mut self) -> bool {
        for size in ARENAS {
            // SAFETY: a fresh private mapping at an address of the kernel's choice.
            let base = unsafe {
                libc::mmap(
                    null_mut(),
                    size,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if base == libc::MAP_FAILED {
                continue;
            }
            self.start = base as usize;
            self.next = self.start;
            self.end = self.start + size;
            return true;
        }
        false
    }

    fn take(&mut self, layout: Layout) -> *mut u8 {
        if self.start == 0 && !self.map() {
            return null_mut();
        }
        let class = class_of(layout.size());
        if layout.align() <= 16
            && let Some(class) = class
            && !self.free[class].is_null()
        {
            let block = self.free[class];
            // SAFETY: a free block of at least 16 bytes begins with the pointer to the next one.
            self.free[class] = unsafe { *block.cast::<*mut u8>() };
            return block;
        }
        let size = class.map_or(layout.size(), |class| 16 << class);
        let cut = self.spare.0.next_multiple_of(layout.align().max(16));
        if cut + size <= self.spare.1 {
            self.spare.0 = cut + size;
            return cut as *mut u8;
        }
        let start = self.next.next_multiple_of(layout.align().max(16));
        let Some(end) = start.checked_add(size).filter(|end| *end <= self.end) else { return null_mut() };
        self.next = end;
        start as *mut u8
    }

    fn give_back(&mut self, block: *mut u8, layout: Layout) {
        let size = class_of(layout.size()).map_or(layout.size(), |class| 16 << class);
        if block as usize + size == self.next {
            self.next = block as usize;
        } else if size >= LARGE && size > self.spare.1 - self.spare.0 {
            self.spare = (block as usize, block as usize + size);
        } else if let Some(class) = class_of(layout.size()) {
            // SAFETY: the block is unused, 16-byte aligned and at least 16 bytes long.
            unsafe { *block.cast::<*mut u8>() = self.free[class] };
            self.free[class] = block;
        }
    }
}

/// The size class of a block, or None if it is too large to be kept for reuse.
fn class_of(size: usize) -> Option<usize> {
    let class = size.max(16).next_power_of_two().trailing_zeros() as usize - 4;
    (class < CLASSES).then_some(class)
}

impl Heap {
    /// As `GlobalAlloc::realloc`.
    ///
    /// # Safety
    /// As there.
    unsafe fn resize(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if let (Some(old), Some(new)) = (class_of(layout.size()), class_of(new_size))
            && old == new
        {
            return block;
        }
        // SAFETY: the caller guarantees that `new_size` with this alignment is a valid layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        self.with(|state| {
            let fresh = state.take(wanted);
            if !fresh.is_null() {
                // SAFETY: both blocks are valid for the smaller of the two sizes and are distinct.
                unsafe { std::ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size)) };
                state.give_back(block, layout);
            }
            fresh
        })
    }
}

/// Ends the program with one line if a small block can't be had. Without a large one (a file that is read whole) there is
/// memory enough to say so in the usual way.
fn or_end(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() && size < 1 << 20 {
        let text = b"davit: out of memory\n";
        // SAFETY: a buffer of its own length; then the process ends.
        unsafe {
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::_exit(1);
        }
    }
    block
}

// SAFETY: blocks come from a private mapping, are aligned to at least 16, do not overlap while in use, and
// `realloc` copies what fits.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        or_end(HEAP.with(|state| state.take(layout)), layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HEAP.with(|state| state.give_back(block, layout));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the same contract.
        or_end(unsafe { HEAP.resize(block, layout, new_size) }, new_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_distinct_and_reused() {
        let arena = Heap::new();
        let small = Layout::from_size_align(24, 8).unwrap();
        let wide = Layout::from_size_align(100, 64).unwrap();
        let a = arena.with(|state| state.take(small));
        let b = arena.with(|state| state.take(wide));
        assert_eq!(b as usize % 64, 0);
        assert!(b as usize >= a as usize + 24);
        let _guard = arena.with(|state| state.take(small));
        arena.with(|state| state.give_back(a, small));
        assert_eq!(arena.with(|state| state.take(small)), a);
    }

    #[test]
    fn a_large_block_is_cut_up() {
        let arena = Heap::new();
        let large = Layout::from_size_align(4096, 8).unwrap();
        let small = Layout::from_size_align(32, 8).unwrap();
        let a = arena.with(|state| state.take(large));
        let _top = arena.with(|state| state.take(small));
        arena.with(|state| state.give_back(a, large));
        let b = arena.with(|state| state.take(small));
        let c = arena.with(|state| state.take(small));
        assert_eq!((b as usize, c as usize), (a as usize, a as usize + 32));
    }

    #[test]
    fn what_is_given_up_is_not_handed_out() {
        let arena = Heap::new();
        let small = Layout::from_size_align(64, 8).unwrap();
        let a = arena.with(|state| state.take(small));
        arena.give_up_reserve();
        let b = arena.with(|state| state.take(small));
        assert!(!b.is_null() && a != b);
        let large = Layout::from_size_align(2 * SPARE, 8).unwrap();
        assert!(arena.with(|state| state.take(large)).is_null());
        assert!(arena.with(|state| state.end - state.start) <= SPARE + 8192);
    }

    #[test]
    fn realloc_keeps_the_contents() {
        let arena = Heap::new();
        let layout = Layout::from_size_align(16, 1).unwrap();
        // SAFETY: as above; 16 bytes are written before they are read.
        unsafe {
            let a = arena.with(|state| state.take(layout));
            std::ptr::write_bytes(a, 7, 16);
            let _guard = arena.with(|state| state.take(layout));
            let b = arena.resize(a, layout, 5000);
            assert_ne!(a, b);
            assert_eq!(*b.add(15), 7);
        }
    }
}
