/* Prints, as `name value` lines, where CPython keeps what spprof reads. Compiled by generate.py against the headers of
 * one interpreter at a time (3.9 to 3.15, with and without the GIL); prints nothing it cannot find there. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "internal/pycore_gil.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#if PY_VERSION_HEX >= 0x030b0000
#  include "internal/pycore_frame.h"
#  include "internal/pycore_code.h"
#else
#  include <frameobject.h>
#endif
#if PY_VERSION_HEX >= 0x030e0000
#  include "internal/pycore_interp_structs.h"
#  include "internal/pycore_interpframe.h"
#  include "internal/pycore_runtime_structs.h"
#endif

#define SHOW(name, value) printf("%s %zu\n", name, (size_t)(value))

/* The lowest bit that `statement` sets in the 32-bit state word of a zeroed string header. */
#define SHOW_STATE_BIT(name, statement)                                                                                \
    do {                                                                                                               \
        PyASCIIObject text;                                                                                            \
        unsigned int word;                                                                                             \
        memset(&text, 0, sizeof(text));                                                                                \
        statement;                                                                                                     \
        memcpy(&word, &text.state, sizeof(word));                                                                      \
        SHOW(name, __builtin_ctz(word));                                                                               \
    } while (0)

int main(void)
{
    SHOW("hexversion", PY_VERSION_HEX);
#ifdef Py_GIL_DISABLED
    SHOW("free_threaded", 1);
#else
    SHOW("free_threaded", 0);
#endif

    SHOW("runtime.interpreters_head", offsetof(_PyRuntimeState, interpreters.head));

    SHOW("interpreter.next", offsetof(PyInterpreterState, next));
#if PY_VERSION_HEX >= 0x030b0000
    SHOW("interpreter.threads_head", offsetof(PyInterpreterState, threads.head));
#else
    SHOW("interpreter.threads_head", offsetof(PyInterpreterState, tstate_head));
#endif
    SHOW("interpreter.gc_collecting", offsetof(PyInterpreterState, gc.collecting));
#if PY_VERSION_HEX >= 0x030f0000
    SHOW("interpreter.gc_frame", offsetof(PyInterpreterState, gc.frame));
#endif

    SHOW("gil.last_holder", offsetof(struct _gil_runtime_state, last_holder));
    SHOW("gil.locked", offsetof(struct _gil_runtime_state, locked));
    SHOW("gil.before_condition_bytes", offsetof(struct _gil_runtime_state, cond));
    SHOW("gil.size_bytes", sizeof(struct _gil_runtime_state));
    SHOW("gil.condition_bytes", sizeof(((struct _gil_runtime_state *)0)->cond));
    SHOW("gil.mutex_bytes", sizeof(((struct _gil_runtime_state *)0)->mutex));
#if PY_VERSION_HEX >= 0x030c0000
    SHOW("gil.interpreter_pointer", offsetof(PyInterpreterState, ceval.gil));
#else
    SHOW("gil.runtime_offset", offsetof(_PyRuntimeState, ceval.gil));
#endif

    SHOW("thread.previous", offsetof(PyThreadState, prev));
    SHOW("thread.next", offsetof(PyThreadState, next));
    SHOW("thread.interpreter", offsetof(PyThreadState, interp));
    SHOW("thread.thread_id", offsetof(PyThreadState, thread_id));
#if PY_VERSION_HEX >= 0x030b0000
    SHOW("thread.native_thread_id", offsetof(PyThreadState, native_thread_id));
#endif
#if PY_VERSION_HEX >= 0x030b0000
    SHOW("thread.datastack_chunk", offsetof(PyThreadState, datastack_chunk));
    SHOW("chunk.data", offsetof(_PyStackChunk, data));
#endif
#if PY_VERSION_HEX >= 0x030f0000
    SHOW("thread.base_frame", offsetof(PyThreadState, base_frame));
#endif
#if PY_VERSION_HEX >= 0x030d0000
    SHOW("thread.frame_root", offsetof(PyThreadState, current_frame));
#elif PY_VERSION_HEX >= 0x030b0000
    SHOW("thread.frame_root", offsetof(PyThreadState, cframe));
    SHOW("thread.cframe_current_frame", offsetof(_PyCFrame, current_frame));
#else
    SHOW("thread.frame_root", offsetof(PyThreadState, frame));
#endif

#if PY_VERSION_HEX >= 0x030b0000
    SHOW("frame.previous", offsetof(_PyInterpreterFrame, previous));
    SHOW("frame.owner", offsetof(_PyInterpreterFrame, owner));
#  if PY_VERSION_HEX < 0x030c0000
    SHOW("frame.is_entry", offsetof(_PyInterpreterFrame, is_entry));
    SHOW("frame.specials_words", FRAME_SPECIALS_SIZE);
#  endif
#  if PY_VERSION_HEX >= 0x030d0000
    SHOW("frame.executable", offsetof(_PyInterpreterFrame, f_executable));
    SHOW("frame.instruction", offsetof(_PyInterpreterFrame, instr_ptr));
#  else
    SHOW("frame.executable", offsetof(_PyInterpreterFrame, f_code));
    SHOW("frame.instruction", offsetof(_PyInterpreterFrame, prev_instr));
#  endif
#else
    SHOW("frame.previous", offsetof(PyFrameObject, f_back));
    SHOW("frame.executable", offsetof(PyFrameObject, f_code));
    SHOW("frame.instruction", offsetof(PyFrameObject, f_lasti));
#endif

    SHOW("code.filename", offsetof(PyCodeObject, co_filename));
    SHOW("code.name", offsetof(PyCodeObject, co_name));
    SHOW("code.first_line", offsetof(PyCodeObject, co_firstlineno));
#if PY_VERSION_HEX >= 0x030a0000
    SHOW("code.line_table", offsetof(PyCodeObject, co_linetable));
#else
    SHOW("code.line_table", offsetof(PyCodeObject, co_lnotab));
#endif
#if PY_VERSION_HEX >= 0x030b0000
    SHOW("code.qualname", offsetof(PyCodeObject, co_qualname));
    SHOW("code.bytecode", offsetof(PyCodeObject, co_code_adaptive));
    SHOW("code.first_traceable", offsetof(PyCodeObject, _co_firsttraceable));
#  if PY_VERSION_HEX >= 0x030c0000
    SHOW("code.frame_words", offsetof(PyCodeObject, co_framesize));
#  else
    SHOW("code.locals", offsetof(PyCodeObject, co_nlocalsplus));
    SHOW("code.stack", offsetof(PyCodeObject, co_stacksize));
#  endif
#else
    SHOW("code.bytecode", offsetof(PyCodeObject, co_code));
#endif
#if PY_VERSION_HEX >= 0x030e0000 && defined(Py_GIL_DISABLED)
    SHOW("frame.tlbc_index", offsetof(_PyInterpreterFrame, tlbc_index));
    SHOW("code.thread_copies", offsetof(PyCodeObject, co_tlbc));
#endif

    SHOW("object.ob_type", offsetof(PyObject, ob_type));
    SHOW("object.ob_size", offsetof(PyVarObject, ob_size));
    SHOW("type_object.tp_name", offsetof(PyTypeObject, tp_name));
    SHOW("type_object.tp_dealloc", offsetof(PyTypeObject, tp_dealloc));

    SHOW("bytes.ob_size", offsetof(PyBytesObject, ob_base.ob_size));
    SHOW("bytes.data", offsetof(PyBytesObject, ob_sval));

    SHOW("unicode.length", offsetof(PyASCIIObject, length));
    SHOW("unicode.state", offsetof(PyASCIIObject, state));
    SHOW("unicode.ascii_data", sizeof(PyASCIIObject));
    SHOW("unicode.compact_data", sizeof(PyCompactUnicodeObject));
    SHOW("unicode.data_pointer", offsetof(PyUnicodeObject, data));
    SHOW("unicode.size_bytes", sizeof(PyUnicodeObject));
#if PY_VERSION_HEX < 0x030c0000
    SHOW("unicode.wstr", offsetof(PyASCIIObject, wstr));
    SHOW("unicode.wstr_length", offsetof(PyCompactUnicodeObject, wstr_length));
#endif
    SHOW_STATE_BIT("unicode.kind_bit", text.state.kind = 1);
    SHOW_STATE_BIT("unicode.compact_bit", text.state.compact = 1);
    SHOW_STATE_BIT("unicode.ascii_bit", text.state.ascii = 1);

#if PY_VERSION_HEX >= 0x030e0000
    /* The table that an interpreter of this build carries, word by word: the golden tables in crates/interpreter/tests. */
    static const _Py_DebugOffsets table = _Py_DebugOffsets_INIT(_Py_Debug_Cookie);
    const uint64_t *words = (const uint64_t *)&table;
    for (size_t at = 0; at < sizeof(table) / sizeof(uint64_t); at++) {
        printf("debug_offsets.%03zu %" PRIu64 "\n", at, words[at]);
    }
#endif
    return 0;
}
