//! execve(2) with arguments that were made ready beforehand.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;
use seccompiler::sock_filter;

use super::clone::last_errno;

/// Strings that can be added to an array once it is made: HOME and LISTEN_PID.
const SPARE: usize = 2;

/// A NULL-terminated array of C strings, as execve(2) takes it.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
    /// The pointers, slots for [`SPARE`] strings more, NULL.
    pointers: RefCell<Vec<*const libc::c_char>>,
}

impl Default for CStringArray {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl CStringArray {
    /// Takes the strings and builds the pointer array.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null(); SPARE + 1]).collect();
        Self { strings, pointers: RefCell::new(pointers) }
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }

    /// Adds one of at most [`SPARE`] strings at the end. It is never freed: execve comes next.
    pub fn add(&self, string: CString) {
        let mut pointers = self.pointers.borrow_mut();
        let free = pointers.iter_mut().skip(self.strings.len()).take(SPARE).find(|slot| slot.is_null());
        if let Some(slot) = free {
            *slot = string.into_raw();
        }
    }

    fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.borrow().as_ptr()
    }

    /// Every string, the extra one too.
    pub fn texts(&self) -> Vec<&CStr> {
        let pointers = self.pointers.borrow();
        let present = pointers.iter().filter(|pointer| !pointer.is_null());
        // SAFETY: each points to a string of `strings`, or to one that `add` leaked.
        present.map(|pointer| unsafe { CStr::from_ptr(*pointer) }).collect()
    }
}

/// Pages for an [`Image`], mapped before a resource limit may forbid it; untouched until then.
#[derive(Debug)]
pub struct Room {
    base: *mut libc::c_void,
    size: usize,
}

impl Room {
    /// Room for these parts, the longest of the paths, and the variables that init adds.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(
        paths: &[CString],
        args: &CStringArray,
        env: &CStringArray,
        filter: &[sock_filter],
    ) -> Result<Self, Errno> {
        let length = |text: &CString| text.count_bytes() + 1 + size_of::<*const u8>();
        let texts: usize = args.strings.iter().chain(&env.strings).map(length).sum();
        let longest = paths.iter().map(length).max().unwrap_or(0);
        let size = texts + longest + size_of_val(filter) + 2048;
        // SAFETY: a fresh private mapping at an address of the kernel's choice.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::PRIVATE,
            )?
        };
        Ok(Self { base, size })
    }
}

/// All that is needed between a wait and the program: path, arguments, environment, filter.
#[derive(Debug)]
pub struct Image {
    path: *const libc::c_char,
    args: *const *const libc::c_char,
    env: *const *const libc::c_char,
    filter: *const sock_filter,
    filter_length: usize,
}

impl Image {
    /// Points to the given parts, which must outlive it (they do: execve is next).
    pub fn borrowed(path: &CStr, args: &CStringArray, env: &CStringArray, filter: &[sock_filter]) -> Self {
        Self {
            path: path.as_ptr(),
            args: args.as_ptr(),
            env: env.as_ptr(),
            filter: filter.as_ptr(),
            filter_length: filter.len(),
        }
    }

    /// Copies the parts to pages of their own, so that all other memory can be given back.
    ///
    /// # Errors
    /// E2BIG: the room is too small.
    pub fn packed(
        path: &CStr,
        args: &CStringArray,
        env: &CStringArray,
        filter: &[sock_filter],
        room: &Room,
    ) -> Result<Self, Errno> {
        let (args, env) = (args.texts(), env.texts());
        let texts: usize = args.iter().chain(&env).map(|text| text.count_bytes() + 1).sum();
        let pointers = (args.len() + env.len() + 2) * size_of::<*const u8>();
        if pointers + size_of_val(filter) + texts + path.count_bytes() + 1 > room.size {
            return Err(Errno::TOOBIG);
        }
        let base = room.base;
        let mut table = base.cast::<*const libc::c_char>();
        // SAFETY: pointers first, then the filter (4-byte aligned), then text: the room is large enough for all of
        // it, ours alone, and every write below stays within its part.
        unsafe {
            let filter_at = base.byte_add(pointers).cast::<sock_filter>();
            std::ptr::copy_nonoverlapping(filter.as_ptr(), filter_at, filter.len());
            let mut text_at = filter_at.add(filter.len()).cast::<libc::c_char>();
            let mut put = |text: &CStr| {
                let length = text.count_bytes() + 1;
                std::ptr::copy_nonoverlapping(text.as_ptr(), text_at, length);
                let start = text_at.cast_const();
                text_at = text_at.add(length);
                start
            };
            let path = put(path);
            let mut put_array = |texts: &[&CStr]| {
                let start = table.cast_const();
                for text in texts {
                    *table = put(text);
                    table = table.add(1);
                }
                *table = std::ptr::null();
                table = table.add(1);
                start
            };
            let (args, env) = (put_array(&args), put_array(&env));
            Ok(Self { path, args, env, filter: filter_at, filter_length: filter.len() })
        }
    }

    /// The program's file.
    pub fn path(&self) -> &CStr {
        // SAFETY: a C string that lives as long as the image.
        unsafe { CStr::from_ptr(self.path) }
    }

    /// The filter's instructions.
    pub fn filter(&self) -> &[sock_filter] {
        // SAFETY: pointer and length of a slice that lives as long as the image.
        unsafe { std::slice::from_raw_parts(self.filter, self.filter_length) }
    }

    /// execve(2): returns only on failure.
    pub fn execute(&self) -> Errno {
        // SAFETY: both arrays end with NULL and point to C strings; the kernel only reads them.
        unsafe { libc::execve(self.path, self.args, self.env) };
        last_errno()
    }
}

/// The argument vector that the C library gave to the entry.
static ARGUMENTS: AtomicPtr<*const libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Keeps the argument vector for [`execute_again`].
pub fn remember_arguments(arguments: *const *const libc::c_char) {
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
}

/// Overwrites the arguments but for the program's name, and the environment: what a caller has there is nobody's business
/// who can read this process's memory, /proc/PID/cmdline or environ.
pub fn forget_command_line() {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    let arguments = ARGUMENTS.load(Ordering::Relaxed).cast::<*mut libc::c_char>();
    // SAFETY: both are the C library's own NULL-terminated arrays of C strings in writable memory of the stack, and nothing
    // holds a reference to them: what was read of them are copies. A string that putenv(3) put in is writable, too.
    unsafe {
        let first = if arguments.is_null() || (*arguments).is_null() { environ } else { arguments.add(1) };
        for list in [first, environ] {
            let mut at = list;
            while !at.is_null() && !(*at).is_null() {
                std::ptr::write_bytes(*at, 0, libc::strlen(*at));
                at = at.add(1);
            }
        }
    }
}

/// execveat(2): runs this command line anew from an open file; returns only on failure.
pub fn execute_again(file: BorrowedFd<'_>) -> Errno {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    if arguments.is_null() {
        return Errno::INVAL;
    }
    // SAFETY: argv and environ are the C library's own NULL-terminated arrays, which live as long as the process;
    // the empty path with AT_EMPTY_PATH names the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments,
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(texts: &[&str]) -> CStringArray {
        CStringArray::new(texts.iter().map(|text| CString::new(*text).unwrap()).collect())
    }

    #[test]
    fn a_packed_image_has_all_parts() {
        let env = array(&["A=1"]);
        for extra in [c"HOME=/x", c"LISTEN_PID=1", c"NO=room"] {
            env.add(extra.to_owned());
        }
        let filter = [sock_filter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }];
        let args = array(&["x", "y z"]);
        let room = Room::new(&[c"/bin/x".to_owned()], &args, &env, &filter).unwrap();
        let image = Image::packed(c"/bin/x", &args, &env, &filter, &room).unwrap();
        assert_eq!(image.path(), c"/bin/x");
        assert_eq!(image.filter()[0].k, 0x7fff_0000);
        let texts = |mut at: *const *const libc::c_char| {
            let mut found = Vec::new();
            // SAFETY: a NULL-terminated array of C strings.
            unsafe {
                while !(*at).is_null() {
                    found.push(CStr::from_ptr(*at).to_str().unwrap().to_string());
                    at = at.add(1);
                }
            }
            found
        };
        assert_eq!(texts(image.args), ["x", "y z"]);
        assert_eq!(texts(image.env), ["A=1", "HOME=/x", "LISTEN_PID=1"]);
    }
}
