"""The processes of a run, which end together."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

from netc.errors import NetError, render
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice, join_ranks
from netc_runtime.launch.ranks import Ranks

EXIT_INTERRUPTED = 130


@contextmanager
def joined(bundle: Bundle, choice: BackendChoice) -> Iterator[tuple[Ranks | None, Bundle]]:
    """All processes of a run go through the block, or this one alone; its place among them, and
    the program that they agree on.

    The first process speaks; when one fails, all end with its exit code. Who lets go of the block
    halfway ends all.
    """
    ranks = join_ranks(bundle, choice)
    if ranks is None:
        yield None, bundle
        return
    try:
        with redirect_stdout(io.StringIO()) if ranks.rank else nullcontext():
            yield ranks, ranks.agree(bundle)
        ranks.close()
    except NetError as error:
        ranks.fail(render(error.diagnostics), error.exit_code)
        raise
    except (KeyboardInterrupt, GeneratorExit):
        ranks.fail("", EXIT_INTERRUPTED)
        raise
    except BaseException:
        ranks.fail(traceback.format_exc().rstrip(), 1)
        raise
