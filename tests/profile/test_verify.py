"""What ``verify`` finds: each thing it looks at, right and wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bitdose.codecs.base import CODECS
from bitdose.profile.document import Profile
from bitdose.profile.signing import Key, load_or_make_key, sign
from bitdose.profile.verify import ERROR, OK, WARNING, failed, verify

SOON = datetime(2026, 11, 23, tzinfo=UTC)


def level(profile: Profile, check: str, **options: Any) -> tuple[str, str]:
    """Return level and text of the one finding of a check."""
    (found,) = [f for f in verify(profile, **({"now": SOON} | options)) if f.check == check]
    assert "\n" not in found.text
    return found.level, found.text


def test_a_good_profile_has_no_error(signed: Profile, key: Key) -> None:
    """Signed by a trusted key, in time, with this machine's codec: every finding is ok."""
    found = verify(signed, now=SOON, trusted=[key.public_key], classifier_digest="net@0123456789ab")
    assert {finding.level for finding in found} == {OK}
    assert not failed(found)
    checks = [finding.check for finding in found]
    assert checks == ["signature", "signer", "dates", "classifier", "point", "codec", "guidelines"]


def test_a_tampered_profile_is_an_error_whoever_signed(signed: Profile, key: Key) -> None:
    """Changed content fails, and so does a profile without a signature."""
    tampered = replace(signed, point="jpeg:q10@256")
    assert level(tampered, "signature", own_key=key.public_key)[0] == ERROR
    bare = replace(signed, signature=None)
    assert level(bare, "signature") == (ERROR, "not signed")
    assert failed(verify(bare, now=SOON))
    assert not [finding for finding in verify(bare, now=SOON) if finding.check == "signer"]


def test_an_unknown_signer_is_a_warning_until_trust_is_asked_for(
    signed: Profile, key: Key, tmp_path: Path
) -> None:
    """Trusted keys, or the wish for them, turn the warning into an error; one's own key is trusted."""
    other = load_or_make_key(tmp_path / "other.pem").public_key
    assert level(signed, "signer")[0] == WARNING
    assert level(signed, "signer", own_key=other)[0] == WARNING
    assert level(signed, "signer", own_key=key.public_key)[0] == OK
    assert level(signed, "signer", trusted=[other, key.public_key])[0] == OK
    assert level(signed, "signer", trusted=[other], own_key=key.public_key)[0] == OK
    assert level(signed, "signer", trusted=[other])[0] == ERROR
    assert level(signed, "signer", require_trusted=True)[0] == ERROR


@pytest.mark.parametrize(
    ("now", "expected", "words"),
    [
        (datetime(2026, 11, 22, 9, 59, 59, tzinfo=UTC), ERROR, "not valid before 2026-11-22T10:00:00Z"),
        (datetime(2026, 11, 22, 10, tzinfo=UTC), OK, "valid until 2027-11-22T10:00:00Z"),
        (datetime(2027, 11, 1, tzinfo=UTC), WARNING, "valid until 2027-11-22T10:00:00Z"),
        (datetime(2027, 11, 22, 9, 59, 59, tzinfo=UTC), WARNING, "valid until"),
        (datetime(2027, 11, 22, 10, tzinfo=UTC), ERROR, "expired on 2027-11-22T10:00:00Z"),
    ],
)
def test_dates_hold_from_the_first_to_before_the_last_second(
    signed: Profile, now: datetime, expected: str, words: str
) -> None:
    """Before its time and from its end on a profile is an error; its last month warns."""
    found = level(signed, "dates", now=now)
    assert found[0] == expected
    assert words in found[1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("net@0123456789ab", OK),
        ("renamed@0123456789ab", OK),
        ("0123456789AB", OK),
        ("0123456789ab" + "0" * 52, OK),
        ("0123456789a", ERROR),
        ("net@0123456789ac", ERROR),
        ("callable", ERROR),
        ("", ERROR),
    ],
)
def test_the_classifier_is_known_by_its_digest_alone(signed: Profile, given: str, expected: str) -> None:
    """A name may change, the digest may not, and less than twelve digits of it prove nothing."""
    assert level(signed, "classifier", classifier_digest=given)[0] == expected


def test_another_build_of_the_codec_is_a_warning_that_names_both(signed: Profile) -> None:
    """The studied build and the installed one stand in one line."""
    found = level(signed, "codec", libraries={"jpeg": "libjpeg 9"})
    assert found[0] == WARNING
    assert "installed here is libjpeg 9" in found[1]
    assert signed.codec.library in found[1]
    assert level(signed, "codec")[1] == f"same build as in the study: {CODECS.get('jpeg').library()}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"point": "jxl:q30"}, "cannot be coded here: unknown codec 'jxl'"),
        ({"point": "anything"}, "cannot be coded here: point 'anything': expected CODEC:QUALITY"),
        ({"point": "jpeg:q31@256"}, "jpeg:q31@256 is not what the codec's fields say"),
        ({"point": "jpeg:q30@256:lanczos4"}, "is not what the codec's fields say"),
        ({"point": "pristine"}, "is not what the codec's fields say"),
        ({"chain": "jpeg"}, "is not what the codec's fields say"),
    ],
)
def test_a_point_that_cannot_be_coded_or_contradicts_is_an_error(
    signed: Profile, key: Key, changes: dict[str, str], words: str
) -> None:
    """Even rightly signed, a point must parse, have its codec here, and be what the fields say."""
    found = level(sign(replace(signed, **changes), key), "point", own_key=key.public_key)
    assert found[0] == ERROR
    assert words in found[1]


def test_pristine_with_the_codec_given_is_no_point_to_send(signed: Profile) -> None:
    """A build given for the name does not let ``pristine`` pass."""
    assert level(replace(signed, point="pristine"), "point", libraries={"pristine": "x"})[0] == ERROR


def test_mammography_warns_with_the_regulators_note(run: Any, key: Key) -> None:
    """A profile for mammograms quotes FDA and MQSA with their citation; one without a modality says so."""
    mammograms = sign(run.profile(modality="mammography"), key)
    found = level(mammograms, "modality")
    assert found[0] == WARNING
    for words in ("FDA", "MQSA", "10.2214/AJR.15.15130"):
        assert words in found[1]
    assert "CAR: mammography 25, DRG: mammography 15" in level(mammograms, "guidelines")[1]
    assert level(sign(run.profile(), key), "modality")[0] == WARNING


def test_a_study_with_a_shared_encode_is_a_warning(signed: Profile) -> None:
    """What the client does is not exactly what was studied: the layered mode is named."""
    layered = replace(signed, codec=replace(signed.codec, studied_modes=("exact", "layered")))
    assert level(layered, "mode")[0] == WARNING
