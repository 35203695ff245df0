"""Files that a viewer downloads. Rule: they are sent part by part, so that a large one takes little memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse


async def attachment(name: str, media_type: str, parts: AsyncIterator[str | bytes]) -> Response:
    """The answer with a file. Its first part is awaited before, so that an error can still be the answer. Raises Error."""
    first = await anext(parts, b"")

    async def whole() -> AsyncIterator[str | bytes]:
        yield first
        async for part in parts:
            yield part

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(whole(), media_type=media_type, headers=headers)
