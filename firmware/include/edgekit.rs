//! edgekit.h for Rust: `no_std`, no allocation, edition 2018 or later, Rust 1.63 or later.
//!
//! `Model` runs a bundle with the interpreter. Models that were compiled ahead of time have a NAME.rs
//! of their own, a module beside this one:
//!
//! ```ignore
//! #[path = "../digits/src/edgekit/edgekit.rs"]
//! mod edgekit;
//! #[path = "../digits/src/digits.rs"]
//! mod digits;
//! ```
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};

/// Statuses of the runtime by their numbers in ek_status.h; `EK_OK` and `EK_MORE` are no errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Truncated,
    Magic,
    Version,
    Checksum,
    Malformed,
    Bounds,
    Alignment,
    KernelMissing,
    ArenaTooSmall,
    TooManyCalls,
    State,
    /// A command stream that the accelerator would refuse.
    Stream,
    /// Of programs that use a GPU: it is lost, the result is right.
    GpuLost,
    /// Of libraries: nothing in them is for this CPU.
    Cpu,
    /// Of programs that use a GPU: there is none.
    GpuNone,
    /// A number of another version of the runtime.
    Unknown(u32),
}

const EK_OK: u32 = 0;
const EK_MORE: u32 = 12;

fn error_of(status: u32) -> Error {
    match status {
        1 => Error::Truncated,
        2 => Error::Magic,
        3 => Error::Version,
        4 => Error::Checksum,
        5 => Error::Malformed,
        6 => Error::Bounds,
        7 => Error::Alignment,
        8 => Error::KernelMissing,
        9 => Error::ArenaTooSmall,
        10 => Error::TooManyCalls,
        11 => Error::State,
        13 => Error::Stream,
        14 => Error::GpuLost,
        15 => Error::Cpu,
        16 => Error::GpuNone,
        other => Error::Unknown(other),
    }
}

fn result_of(status: u32) -> Result<(), Error> {
    match status {
        EK_OK => Ok(()),
        other => Err(error_of(other)),
    }
}

pub(super) fn step_of(status: u32) -> Result<Step, Error> {
    match status {
        EK_OK => Ok(Step::Done),
        EK_MORE => Ok(Step::More),
        other => Err(error_of(other)),
    }
}

/// How far an inference in steps has come (`ek_run_t`); `Run::default()` is before the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    pub next: u32,
}

/// What a step says: others are left, or it was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    More,
    Done,
}

/// Bytes at an address that the runtime takes: `static BUNDLE: Aligned<[u8; N]>`.
#[repr(C, align(16))]
pub struct Aligned<T>(pub T);

// ---- edgekit.h

#[repr(C)]
pub struct ek_operand_t {
    nbytes: u32,
    role: u32,
}

/// A kernel of this program. The fields are private, so that no others come in than those that were
/// generated and linked, whose operands are what they say.
#[repr(C)]
pub struct ek_kernel_t {
    fingerprint: u64,
    run: Option<unsafe extern "C" fn(arguments: *const *mut c_void)>,
    operands: *const ek_operand_t,
    operand_count: u32,
    check: Option<unsafe extern "C" fn(arguments: *const *mut c_void) -> i32>,
}

unsafe impl Sync for ek_kernel_t {} // constants

/// Where the runtime notes a kernel of the bundle.
pub type Slot = *const ek_kernel_t;
/// What slots hold first: `[EMPTY; N]`.
pub const EMPTY: Slot = core::ptr::null();

#[repr(C)]
struct ek_model_t {
    bundle: *const u8,
    calls: *const u8,
    arguments: *const u8,
    constants: *const u8,
    fingerprints: *const u8,
    inputs: *const u8,
    outputs: *const u8,
    states: *const u8,
    kernels: *const Slot,
    arena: *mut u8,
    bundle_bytes: u32,
    call_count: u32,
    argument_count: u32,
    constant_bytes: u32,
    arena_bytes: u32,
    kernel_count: u32,
    input_count: u32,
    output_count: u32,
    state_count: u32,
    detail: u32,
    hash: [u8; 8],
}

/// Bytes of `ek_model_t`, to be compared with what the C compiler says.
pub const MODEL_BYTES: usize = size_of::<ek_model_t>();

extern "C" {
    static ek_kernels: [ek_kernel_t; 0];
    static ek_kernel_count: u32;
    fn ek_open(
        model: *mut ek_model_t,
        bundle: *const c_void,
        bundle_bytes: usize,
        kernels: *const ek_kernel_t,
        kernel_count: u32,
        slots: *mut Slot,
        slot_count: u32,
        arena: *mut c_void,
        arena_bytes: usize,
    ) -> u32;
    fn ek_invoke(model: *const ek_model_t) -> u32;
    fn ek_step(model: *const ek_model_t, run: *mut Run) -> u32;
    fn ek_reset(model: *const ek_model_t) -> u32;
    fn ek_input(model: *const ek_model_t, index: u32, nbytes: *mut u32) -> *mut u8;
    fn ek_output(model: *const ek_model_t, index: u32, nbytes: *mut u32) -> *const u8;
    fn ek_state(model: *const ek_model_t, index: u32, nbytes: *mut u32) -> *mut u8;
}

mod sealed {
    pub trait Plain {}
}

/// What tensors consist of: plain numbers, for which every bit pattern is a value.
pub trait Element: sealed::Plain + Copy {}

macro_rules! elements {
    ($($t:ty),*) => { $(impl sealed::Plain for $t {} impl Element for $t {})* };
}
elements!(i8, u8, i16, i32, i64, f32);

/// Why a bundle was refused, and the index of what the reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub error: Error,
    pub detail: u32,
    /// What the bundle needs, as soon as that is known.
    pub arena_bytes: u32,
}

/// A verified bundle with its arena, run by the interpreter.
pub struct Model<'a> {
    raw: ek_model_t,
    _borrowed: PhantomData<&'a mut [u8]>,
}

impl<'a> Model<'a> {
    /// Verify `bundle` and bind it to the kernels of this program. `slots` has one for each kernel
    /// of the bundle; bundle and arena are `Aligned`.
    pub fn open(
        bundle: &'a [u8],
        slots: &'a mut [Slot],
        arena: &'a mut [u8],
    ) -> Result<Model<'a>, Refusal> {
        let mut raw = core::mem::MaybeUninit::<ek_model_t>::zeroed();
        // Zeros are null pointers and numbers; ek_open fills all of it in, whatever it answers.
        unsafe {
            let status = ek_open(
                raw.as_mut_ptr(),
                bundle.as_ptr() as *const c_void,
                bundle.len(),
                core::ptr::addr_of!(ek_kernels) as *const ek_kernel_t,
                ek_kernel_count,
                slots.as_mut_ptr(),
                if slots.len() > u32::MAX as usize {
                    u32::MAX
                } else {
                    slots.len() as u32
                },
                arena.as_mut_ptr() as *mut c_void,
                arena.len(),
            );
            let raw = raw.assume_init();
            match result_of(status) {
                Ok(()) => Ok(Model {
                    raw,
                    _borrowed: PhantomData,
                }),
                Err(error) => Err(Refusal {
                    error,
                    detail: raw.detail,
                    arena_bytes: raw.arena_bytes,
                }),
            }
        }
    }

    /// One inference on what the inputs hold; they may be overwritten by it.
    pub fn invoke(&mut self) -> Result<(), Error> {
        result_of(unsafe { ek_invoke(&self.raw) })
    }

    /// One kernel of an inference; `run` is `Run::default()` before the first.
    pub fn step(&mut self, run: &mut Run) -> Result<Step, Error> {
        step_of(unsafe { ek_step(&self.raw, run) })
    }

    /// Give the states their initial content.
    pub fn reset(&mut self) -> Result<(), Error> {
        result_of(unsafe { ek_reset(&self.raw) })
    }

    /// Elements of an input in the arena. None where there is no such input, or where its bytes are
    /// no whole number of aligned elements; `edgekit inspect` says which type it has.
    pub fn input<T: Element>(&mut self, index: u32) -> Option<&mut [T]> {
        let mut nbytes = 0;
        let at = unsafe { ek_input(&self.raw, index, &mut nbytes) };
        unsafe { view_mut(at, nbytes) }
    }

    /// Elements of an output, until the next inference.
    pub fn output<T: Element>(&self, index: u32) -> Option<&[T]> {
        let mut nbytes = 0;
        let at = unsafe { ek_output(&self.raw, index, &mut nbytes) };
        unsafe { view_mut(at as *mut u8, nbytes).map(|x| &*x) }
    }

    /// Elements of a state, to look at it or to carry it over.
    pub fn state<T: Element>(&mut self, index: u32) -> Option<&mut [T]> {
        let mut nbytes = 0;
        let at = unsafe { ek_state(&self.raw, index, &mut nbytes) };
        unsafe { view_mut(at, nbytes) }
    }

    /// What names the model: the hash that `edgekit inspect` prints.
    pub fn hash(&self) -> [u8; 8] {
        self.raw.hash
    }
}

/// # Safety
/// `at` is null or has `nbytes` that live as long as the result and that nobody else writes.
unsafe fn view_mut<'m, T: Element>(at: *mut u8, nbytes: u32) -> Option<&'m mut [T]> {
    let count = nbytes as usize / size_of::<T>();
    let aligned = at as usize & (align_of::<T>() - 1) == 0;
    if at.is_null() || count * size_of::<T>() != nbytes as usize || !aligned {
        return None;
    }
    Some(core::slice::from_raw_parts_mut(at as *mut T, count))
}
