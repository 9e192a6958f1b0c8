"""The one table of sound formats: suffixes, how a file begins, and FFmpeg's names for them."""

import re
from dataclasses import dataclass
from pathlib import Path

HEAD = 8192  # bytes of a file that its format is told from


@dataclass(frozen=True)
class Format:
    """A format, or several that begin alike.

    Attributes:
        suffixes: suffixes that mean nothing else, with spaces between them: such a file need not be
            opened to be called audio. Suffixes with other uses have no place here (.ts is
            TypeScript, .dts a device tree, .mat any matrix, and a video may be silent): the content
            tells.
        demuxers: FFmpeg's names, with spaces between them; empty where only libsndfile reads it.
        begins: pattern of the first bytes; empty where frames or the suffix alone tell.
    """

    suffixes: str
    demuxers: str = ""
    begins: bytes = b""


FORMATS = (
    Format("wav wave bwf rf64", "wav", rb"(RIFF|RIFX|RF64|BW64)....WAVE"),
    Format("w64", "w64", rb"riff\x2e\x91\xcf\x11"),
    Format("qcp", "qcp", rb"RIFF....QLCM"),
    Format("xwma", "xwma", rb"RIFF....XWMA"),
    Format("", "avi", rb"RIFF....AVI[ X\x19]"),
    Format("aif aifc aiff", "aiff", rb"FORM....AIF[CF]"),
    Format("8svx 16sv svx", "iff", rb"FORM....(8SVX|16SV)"),
    Format("dff", "iff", rb"FRM8.{8}DSD "),
    Format("dsf", "dsf", rb"DSD \x1c"),
    Format("wsd", "wsd", rb"1bit\x00"),
    Format("au snd", "au", rb"\.snd\x00|dns\."),
    Format("caf", "caf", rb"caff\x00"),
    Format("flac", "flac", rb"fLaC"),
    Format("ogg oga opus spx", "ogg", rb"OggS\x00"),
    Format("mp3 mp2 mp1 mpa mpga", "mp3", rb"ID3[\x02-\x04]"),  # frames: `is_framed`
    Format("aac adts", "aac"),  # frames
    Format("loas latm", "loas"),  # frames
    # Not the images that begin so too.
    Format("m4a m4b m4r 3ga", "mov mp4", rb"\x00\x00..ftyp(?!he[iv]|mif1|msf1|avi[fs]|crx )"),
    Format("", "mov", rb"(?![\t\n\r -~]{4})....(moov|mdat|wide)"),
    Format("mka weba", "matroska webm", rb"\x1a\x45\xdf\xa3"),
    # Packets that begin with a G; a text may too, in lines of that length.
    Format("", "mpegts", rb"(?![\t\n\r -~]{12})((G.{187}){5}|(G.{203}){5}|(.{4}G.{187}){5})"),
    Format("", "mpeg", rb"\x00\x00\x01\xba"),
    Format("", "flv", rb"FLV\x01"),
    Format("", "mxf", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),
    Format("", "gxf", rb"\x00\x00\x00\x00\x01\xbc"),
    Format("", "mmf", rb"MMMD\x00"),
    Format("", "nut", rb"nut/multimedia container\x00"),
    Format("", "wtv", rb"\xb7\xd8\x00\x20\x37\x49\xda\x11"),
    Format("wma", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    Format("ra", "rm", rb"\.RMF\x00|\.ra\xfd"),
    # AC-3 states rate, size and version (6 to 10) in bytes 4 and 5, E-AC-3 its version (to 16).
    Format(
        "ac3 eac3 ec3",
        "ac3 eac3",
        rb"\x0b\x77(..[\x00-\x25\x40-\x65\x80-\xa5][\x30-\x57]|[\x00-\xbf]..[\x58-\x87])",
    ),
    Format("", "dts", rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\x00|\xff\x1f\x00\xe8"),
    Format("dtshd", "dtshd", rb"DTSHDHDR"),
    Format("thd truehd", "truehd mlp", rb"....\xf8\x72\x6f[\xba\xbb]"),
    Format("", "spdif", rb"\x72\xf8\x1f\x4e"),
    Format("ape", "ape", rb"MAC .[\x0c-\x10]|APETAGEX"),
    Format("wv", "wv", rb"wvpk"),
    Format("tta", "tta", rb"TTA1[\x01-\x03]\x00"),
    Format("mpc mpp", "mpc mpc8", rb"MP\+[\x07\x17]|MPCK[A-Z]{2}"),
    Format("tak", "tak", rb"tBaK"),
    Format("shn", "shn", rb"ajkg"),
    Format("osq", "osq", rb"OSQ .\x00\x00\x00"),
    Format("qoa", "qoa", rb"qoaf"),
    Format("oma aa3", "oma", rb"ea3\x03|EA3\x01"),
    Format("aea", "aea", rb"\x00\x08\x00\x00.{260}[\x01\x02]"),
    Format("vqf", "vqf", rb"TWIN97012000|TWIN00052200"),
    Format("amr awb", "amr", rb"#!AMR"),
    Format("lbc", "ilbc", rb"#!iLBC"),
    Format("dss ds2", "dss", rb"[\x02\x03]ds[s2]"),
    Format("gsm", "gsm", rb"([\xd0-\xdf].{32}){20}"),
    Format("g722", "g722"),
    Format("g723_1", "g723_1"),
    Format("sbc", "sbc"),
    Format("adx", "adx", rb"\x80\x00.{2,99}?\(c\)CRI"),
    Format("", "ast", rb"STRM.{60}BLCK"),
    Format("sox", "sox", rb"\.SoX|XoS\."),
    Format("sph nist", "nistsphere", rb"NIST_1A\n"),
    Format("voc", "voc", rb"Creative Voice File\x1a"),
    Format("ircam", "ircam", rb"\x64\xa3[\x00-\x04]\x00|\x00[\x00-\x04]\xa3\x64"),
    Format("avr", "avr", rb"2BIT"),
    Format("paf", "epaf", rb" paf\x00\x00|fap \x00\x00"),
    Format("pvf", "pvf", rb"PVF1\n"),
    Format("wve", "wve", rb"ALawSoundFile\*\*"),
    Format("", "sds", rb"\xf0\x7e.\x01"),
    Format("", "", rb"Extended Instrument: "),  # .xi
    Format("", "", rb"\x01\x04[ -~\x00]{17}..[\x00\x01].{16}[\x00\x01]"),  # Akai's .snd
    # libsndfile's matrices begin with one that is named so.
    Format("", "", rb"(\x00\x00\x00\x00|\x00\x00\x03\xe8).{16}samplerate\x00"),
    Format("", "", rb"MATLAB 5\.0 MAT-file.{109}.{0,60}samplerate"),
)

AUDIO_SUFFIXES = frozenset(f".{suffix}" for one in FORMATS for suffix in one.suffixes.split())

# What FFmpeg may take a file for. Playlists are not among them: they would open other files.
CONTAINERS = ",".join(sorted({name for one in FORMATS for name in one.demuxers.split()}))

# Frames without a header, or too short a one to know them by.
HEADERLESS = {".gsm": "gsm", ".g722": "g722", ".g723_1": "g723_1", ".sbc": "sbc"}

_BEGINS = re.compile(b"|".join(one.begins for one in FORMATS if one.begins), re.DOTALL)

# Bit rates of MPEG audio, kbit/s, by version (1, or 2 and 2.5) and layer (ISO 11172-3, 13818-3).
_KBITS = {
    (1, 1): range(0, 449, 32),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def is_sound(head: bytes, size: int) -> bool:
    """Whether a file begins like sound, or like video, which may have sound.

    Args:
        head: its first 8192 bytes, or all of a shorter file.
        size: bytes of the whole file.

    Returns:
        whether it does.
    """
    return _BEGINS.match(head) is not None or is_framed(head) or _is_htk(head, size)


def headerless(path: Path, head: bytes) -> str | None:
    """FFmpeg's name for a format that only the suffix tells, where the content tells nothing.

    Args:
        path: the file.
        head: its first bytes.

    Returns:
        the name, or None.
    """
    name = HEADERLESS.get(path.suffix.lower())
    return name if name is not None and not is_sound(head, len(head)) else None


def is_framed(head: bytes) -> bool:
    """Whether frames of MPEG audio, AAC (ADTS) or AAC (LOAS) follow each other.

    Args:
        head: 8192 bytes from the first frame on, or all of fewer.
    """
    place = frames = 0
    while frames < 4 and place + 6 <= len(head):
        length = _frame_length(head[place : place + 6])
        if not length:
            return False
        place, frames = place + length, frames + 1
    return frames > 1


def _frame_length(header: bytes) -> int:
    """Bytes of a frame by its header; 0 if it is no frame."""
    first = int.from_bytes(header[:4])
    if first >> 21 == 0x2B7:  # LOAS (ISO 14496-3, 1.7.2)
        return 3 + (first >> 8 & 0x1FFF)
    if first >> 21 != 0x7FF:
        return 0
    version, layer = first >> 19 & 3, 4 - (first >> 17 & 3)
    if layer == 4:  # ADTS (ISO 13818-7, 6.2)
        length = int.from_bytes(header[3:6]) >> 5 & 0x1FFF
        return length if version > 1 and header[2] >> 2 & 15 < 13 and length > 7 else 0
    bit_rate, rate = first >> 12 & 15, first >> 10 & 3
    if version == 1 or bit_rate in {0, 15} or rate == 3:
        return 0
    generation = 1 if version == 3 else 2
    bits = 1000 * _KBITS[generation, layer][bit_rate]
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = first >> 9 & 1
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    return (72 if (generation, layer) == (2, 3) else 144) * bits // hertz + padding


def _is_htk(head: bytes, size: int) -> bool:
    """HTK's waveforms have no name, but a length: samples of 2 bytes (kind 0) after 12 bytes."""
    samples = int.from_bytes(head[:4])
    return samples > 0 and 12 + 2 * samples == size and head[8:12] == b"\x00\x02\x00\x00"
