"""Files: whether the bridge may put one into the homeserver's repository, and read it again."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from dm_bridge.app.doctor.findings import Finding, mend, ok
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.media import MediaRepository

ABOUT = "files"


async def check(repository: MediaRepository, ghost: UserId, largest: int) -> list[Finding]:
    """``largest``: of `media.max_megabytes`, in bytes. Set a deadline. Leaves a file of some bytes there."""
    if not largest:
        return [ok(ABOUT, "Files are not carried (media.max_megabytes is 0).")]
    sent = f"dm-bridge doctor {secrets.token_hex(8)}\n".encode()
    step = "upload"
    try:
        limit = await repository.limit(ghost)
        mxc = await repository.upload(
            _once(sent), len(sent), "text/plain", "doctor.txt", user=ghost
        )
        step = "download"
        async with repository.download(mxc, user=ghost) as opened:
            got = b"".join([chunk async for chunk in opened.chunks])
    except HomeserverError as error:
        return [judge_failure(step, error)]
    if got != sent:
        return [
            mend(
                ABOUT,
                "A file that was put on the homeserver came back changed. Look at the proxies between, and at the "
                "homeserver's media_store_path.",
            )
        ]
    return [judge_limit(limit, largest)]


def judge_failure(step: str, error: HomeserverError) -> Finding:
    """``step``: upload, or download."""
    if step == "download" and error.status in (404, 400):
        what = "Authenticated media (Matrix v1.11) are needed: upgrade the homeserver."
    elif error.status in (403, 404, 413, 507):
        what = (
            "Check the homeserver's enable_media_repo, media_store_path and its disk, and that a proxy before it "
            "passes /_matrix/media and /_matrix/client/v1/media on."
        )
    else:
        what = "The homeserver's log says more; check media_store_path and its disk."
    return mend(ABOUT, f"A small file could not be {step}ed. {error.message} {what}")


def judge_limit(limit: int | None, largest: int) -> Finding:
    """``limit``: the homeserver's, in bytes."""
    carried = largest if limit is None else min(limit, largest)
    which = "" if limit is None or limit >= largest else ", which is the homeserver's limit"
    return ok(ABOUT, f"Files come and go; up to {carried / 1_000_000:,.0f} MB are carried{which}.")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
