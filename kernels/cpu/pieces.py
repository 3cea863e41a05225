"""Kernels, which are whole, and pieces of them, compiled as far as those that call them need.

Numba makes machine code of every function, with wrappers for Python and for C, and optimizes it
with all that it calls. A piece is called by kernels alone, which are optimized with all their
pieces in them: what is left of a piece is LLVM's text of it. It is not kept on disk: Numba's names
of functions end with a number that each process counts by itself, and LLVM takes functions of one
name for one.

So does the linker of a process that loads kernels: what is left of functions in the machine code of
one would stand for others of their names in the next, which another process may have compiled. A
kernel's are its own.
"""

from typing import Any

from llvmlite.binding import Linkage
from numba.core import codegen, compiler

_passes: Any = compiler.Compiler.define_pipelines


class PieceLibrary(codegen.JITCodeLibrary):
    """A piece and all that it calls, to be linked into kernels."""

    def finalize(self) -> None:
        """Link what it calls; who calls it optimizes all together."""
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


class KernelLibrary(codegen.JITCodeLibrary):
    """A kernel with all that it calls, of which nothing is seen from outside."""

    def _optimize_final_module(self) -> None:
        optimize: Any = super()._optimize_final_module
        optimize()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage in SHARED:
                function.linkage = "internal"


SHARED = frozenset(
    {Linkage.linkonce_any, Linkage.linkonce_odr, Linkage.weak_any, Linkage.weak_odr}
)  # fmt: skip
"""How functions are told to the linker that takes those of one name for one."""
_piece_library: Any = PieceLibrary
_kernel_library: Any = KernelLibrary


class KernelCompiler(compiler.Compiler):
    """Numba's compiler, with a library of this kind."""

    def define_pipelines(self) -> Any:
        """Numba's passes."""
        name = self.state.func_id.func_qualname
        self.state.library = _kernel_library(self.state.targetctx.codegen(), name)
        # As Numba does with libraries that it makes for what is kept.
        self.state.library.enable_object_caching()
        return _passes(self)


class PieceCompiler(compiler.Compiler):
    """Numba's compiler, with a library of this kind."""

    def define_pipelines(self) -> Any:
        """Numba's passes, but for the last, which makes machine code."""
        self.state.flags.no_compile = True
        name = self.state.func_id.func_qualname
        self.state.library = _piece_library(self.state.targetctx.codegen(), name)
        return _passes(self)


def hide(compiled: Any) -> None:
    """Let a function that has no wrapper for Python fail where Python calls it."""

    def add_overload(result: Any) -> None:
        if result.entry_point is None:
            # those that call it know it by this
            result = result._replace(entry_point=object())
            context = result.target_context
            context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        compiled.overloads[tuple(result.signature.args)] = result

    def refuse(*arguments: Any, **named: Any) -> None:
        raise TypeError(f"{compiled} is called by kernels or pools alone")

    compiled.add_overload, compiled._compile_for_args = add_overload, refuse
