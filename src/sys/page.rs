//! One page shared by parent and child: where the child is in its list of steps.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

/// A shared word that survives the death of either side. A child stores, its parent reads.
#[derive(Debug)]
pub struct SharedWord {
    word: &'static AtomicU32,
}

impl SharedWord {
    /// Maps a shared page, zeroed.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        // SAFETY: a fresh shared anonymous mapping of one page at an address of the kernel's choice.
        let page = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                4096,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
            )?
        };
        // SAFETY: page-aligned, readable and writable, zeroed, never unmapped.
        let word = unsafe { &*page.cast::<AtomicU32>() };
        Ok(Self { word })
    }

    /// Stores `value` where the other process sees it.
    pub fn set(&self, value: u32) {
        self.word.store(value, Ordering::Relaxed);
    }

    /// The value stored last.
    pub fn get(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }
}
