//! The function tables that a tool fills in when it attaches: the client's side of NVTX v3, without its C header.
//!
//! As in `nvtxInit.h` and `nvtxTypes.h` of NVTX 3 (github.com/NVIDIA/NVTX): the tool's library, named by
//! `NVTX_INJECTION64_PATH`, is loaded and its `InitializeInjectionNvtx2` called with a function that gives out export
//! tables. Through the table of callbacks it asks for the slots of each module and writes its functions into those that
//! it handles. A slot that stays empty is a call that does nothing.

#![allow(unsafe_code)]

use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Slots of the largest module and one for index 0, which no callback has.
const SLOTS: usize = 16;

/// Callback numbers of the module CORE2 (`NvtxCallbackIdCore2`).
mod core2 {
    pub(super) const DOMAIN_RANGE_PUSH_EX: usize = 4;
    pub(super) const DOMAIN_RANGE_POP: usize = 5;
    pub(super) const DOMAIN_CREATE_A: usize = 12;
    pub(super) const INITIALIZE: usize = 15;
}

/// One module's slots. A tool writes through the pointers of its table while it attaches, and never later.
struct Module {
    slots: [AtomicPtr<c_void>; SLOTS],
}

impl Module {
    const fn new() -> Self {
        Self { slots: [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS] }
    }

    fn slot(&self, id: usize) -> *mut c_void {
        self.slots[id].load(Ordering::Acquire)
    }
}

/// `NvtxFunctionTable`: pointers to slots, index 0 empty, a null at the end.
struct Table([*const AtomicPtr<c_void>; SLOTS + 1]);

// SAFETY: the table is never written after it is made, and what it points to is atomic.
unsafe impl Sync for Table {}

impl Table {
    /// Of the first `size` slots, that of index 0 left out.
    const fn new(module: &'static Module, size: usize) -> Self {
        let mut table = [ptr::null(); SLOTS + 1];
        let mut id = 1;
        while id < size {
            table[id] = &raw const module.slots[id];
            id += 1;
        }
        Self(table)
    }
}

/// The modules that NVTX has, each with its number of callbacks: tools refuse to attach to a client that lacks one.
static CORE: Module = Module::new();
static CUDA: Module = Module::new();
static OPENCL: Module = Module::new();
static CUDART: Module = Module::new();
static CORE2: Module = Module::new();
static SYNC: Module = Module::new();
static TABLES: [(Table, usize); 6] = [
    (Table::new(&CORE, 16), 16),
    (Table::new(&CUDA, 9), 9),
    (Table::new(&OPENCL, 15), 15),
    (Table::new(&CUDART, 7), 7),
    (Table::new(&CORE2, 16), 16),
    (Table::new(&SYNC, 7), 7),
];

/// `NvtxExportTableCallbacks`.
#[repr(C)]
struct Callbacks {
    struct_size: usize,
    get_module_function_table: extern "C" fn(c_int, *mut *const c_void, *mut c_uint) -> c_int,
}

/// `NvtxExportTableVersionInfo`.
#[repr(C)]
struct VersionInfo {
    struct_size: usize,
    version: u32,
    reserved: u32,
    set_injection_nvtx_version: extern "C" fn(u32),
}

static CALLBACKS: Callbacks =
    Callbacks { struct_size: size_of::<Callbacks>(), get_module_function_table: module_function_table };

/// `NVTX_VERSION`.
const NVTX_VERSION: u16 = 3;

static VERSION_INFO: VersionInfo = VersionInfo {
    struct_size: size_of::<VersionInfo>(),
    version: NVTX_VERSION as u32,
    reserved: 0,
    set_injection_nvtx_version: ignore_version,
};

extern "C" fn ignore_version(_version: u32) {}

/// `GetModuleFunctionTable`: 1 and the table of a module, counted from 1; 0 for a module that is not known.
extern "C" fn module_function_table(module: c_int, table: *mut *const c_void, size: *mut c_uint) -> c_int {
    let index = usize::try_from(module).ok().and_then(|m| m.checked_sub(1));
    let Some((own, count)) = index.and_then(|i| TABLES.get(i)) else { return 0 };
    if !table.is_null() {
        // SAFETY: the tool passes a place for the pointer, as NVTX says, or null.
        unsafe { *table = own.0.as_ptr().cast() };
    }
    if !size.is_null() {
        // SAFETY: the tool passes a place for the number, as NVTX says, or null.
        unsafe { *size = *count as c_uint };
    }
    1
}

/// `nvtxGetExportTable`.
extern "C" fn export_table(id: u32) -> *const c_void {
    match id {
        1 => (&raw const CALLBACKS).cast(),
        3 => (&raw const VERSION_INFO).cast(),
        _ => ptr::null(),
    }
}

/// `nvtxEventAttributes_v2`, with a message and nothing else: 48 bytes.
#[repr(C)]
struct EventAttributes {
    version: u16,
    size: u16,
    category: u32,
    color_type: i32,
    color: u32,
    payload_type: i32,
    reserved: i32,
    payload: u64,
    message_type: i32,
    message: *const c_char,
}

/// `NVTX_MESSAGE_TYPE_ASCII`.
const ASCII: i32 = 1;

type InitializeInjection = unsafe extern "C" fn(extern "C" fn(u32) -> *const c_void) -> c_int;
type DomainCreate = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type DomainRangePush = unsafe extern "C" fn(*mut c_void, *const EventAttributes) -> c_int;
type DomainRangePop = unsafe extern "C" fn(*mut c_void) -> c_int;
type Initialize = unsafe extern "C" fn(*const c_void);

/// Loads a tool's library and lets it fill the tables; the library stays loaded for good. Called once per process.
///
/// # Errors
/// When the library cannot be loaded, is no tool of NVTX, or refuses.
pub(super) fn attach(library: &std::ffi::OsStr) -> Result<(), String> {
    // SAFETY: the user, or the profiler that the user started, names this library to be run in this process.
    let loaded = unsafe { Library::new(library) }.map_err(|e| e.to_string())?;
    // SAFETY: the symbol has this type by NVTX's definition.
    let initialize = unsafe { loaded.get::<InitializeInjection>(b"InitializeInjectionNvtx2\0") }
        .map_err(|e| format!("no tool of NVTX: {e}"))?;
    // SAFETY: `export_table` is what NVTX says: it and all it gives out live as long as the process.
    let status = unsafe { initialize(export_table) };
    if status == 0 {
        return Err("it refused to attach".to_string());
    }
    std::mem::forget(loaded);
    let slot = CORE2.slot(core2::INITIALIZE);
    if !slot.is_null() {
        // SAFETY: the tool put a function of this type there, and takes a null.
        unsafe { std::mem::transmute::<*mut c_void, Initialize>(slot)(ptr::null()) };
    }
    Ok(())
}

/// A domain that the attached tool made.
#[derive(Debug)]
pub(super) struct Domain(*mut c_void);

// SAFETY: the handle is opaque, and NVTX may be called from any thread.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}

impl Domain {
    /// A new domain; `None` when the tool has none, as one that only listens to the default domain.
    pub(super) fn create(name: &CStr) -> Option<Self> {
        let slot = CORE2.slot(core2::DOMAIN_CREATE_A);
        if slot.is_null() {
            return None;
        }
        // SAFETY: the tool put a function of this type there; the name ends with a zero.
        let handle = unsafe { std::mem::transmute::<*mut c_void, DomainCreate>(slot)(name.as_ptr()) };
        Some(Self(handle))
    }

    /// Opens a range on this thread.
    pub(super) fn push(&self, name: &CStr) {
        let slot = CORE2.slot(core2::DOMAIN_RANGE_PUSH_EX);
        if slot.is_null() {
            return;
        }
        let attributes = EventAttributes {
            version: NVTX_VERSION,
            size: size_of::<EventAttributes>() as u16,
            category: 0,
            color_type: 0,
            color: 0,
            payload_type: 0,
            reserved: 0,
            payload: 0,
            message_type: ASCII,
            message: name.as_ptr(),
        };
        // SAFETY: the tool put a function of this type there; it copies what it keeps, as NVTX says.
        unsafe { std::mem::transmute::<*mut c_void, DomainRangePush>(slot)(self.0, &raw const attributes) };
    }

    /// Closes the innermost range of this thread.
    pub(super) fn pop(&self) {
        let slot = CORE2.slot(core2::DOMAIN_RANGE_POP);
        if !slot.is_null() {
            // SAFETY: the tool put a function of this type there.
            unsafe { std::mem::transmute::<*mut c_void, DomainRangePop>(slot)(self.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_of_nvtx_3_has_a_table_with_its_number_of_slots() {
        // nvtxTypes.h: NVTX_CBID_<MODULE>_SIZE.
        for (module, expected) in [(1, 16), (2, 9), (3, 15), (4, 7), (5, 16), (6, 7)] {
            let (mut table, mut size) = (ptr::null(), 0);
            assert_eq!(module_function_table(module, &mut table, &mut size), 1);
            assert_eq!(size, expected);
            let own = &TABLES[module as usize - 1].0.0;
            assert_eq!(table, own.as_ptr().cast());
            assert!(own[0].is_null() && own[1..size as usize].iter().all(|slot| !slot.is_null()));
            assert!(own[size as usize].is_null());
        }
        assert_eq!(module_function_table(0, ptr::null_mut(), ptr::null_mut()), 0);
        assert_eq!(module_function_table(7, ptr::null_mut(), ptr::null_mut()), 0);
        assert!(export_table(2).is_null() && !export_table(1).is_null() && !export_table(3).is_null());
    }

    #[test]
    fn structures_are_as_large_as_the_header_makes_them() {
        assert_eq!(size_of::<EventAttributes>(), 48);
        assert_eq!((size_of::<Callbacks>(), size_of::<VersionInfo>()), (16, 24));
    }
}
