"""What makes one simple command CRITICAL: it destroys, takes rights or a machine over, or cannot be taken back.

A list of what is known to be bad is never whole, and nothing is allowed because it is missing here: what is not on the
list of `shell_readonly` is HIGH and asked about. This only decides how loudly.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Final

from baton.services.folders import holds_secrets, is_root_or_home, place_in, takes_over
from baton.services.shell_parts import Command, Redirect, Word


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRIVILEGED: Final = _names("sudo su doas pkexec runuser gksudo kdesudo chroot nsenter unshare setpriv capsh setcap")
_SYSTEM: Final = _names(
    """shutdown reboot halt poweroff init telinit kexec
    mkswap swapon swapoff fdisk sfdisk cfdisk gdisk sgdisk parted wipefs blkdiscard losetup cryptsetup lvremove
    vgremove pvremove mdadm dmsetup hdparm zpool zfs diskutil mount umount
    insmod rmmod modprobe sysctl setenforce iptables ip6tables nft ufw firewall-cmd pfctl
    crontab at batch systemctl service launchctl update-rc.d chkconfig loginctl
    useradd userdel usermod adduser deluser groupadd groupdel passwd chpasswd chsh visudo vipw dscl
    shred wipe srm chattr grub-install update-grub efibootmgr nvram csrutil spctl tccutil security
    killall5 ssh-copy-id setfacl update-alternatives ldconfig debugfs dropdb dropuser"""
)
_WRITERS: Final = _names(
    """tee cp mv ln install rsync scp touch truncate mkdir rmdir rm unlink chmod chown chgrp sed gsed perl patch dd
    ed ex vi vim nano emacs sponge split csplit link mkfifo mknod ssh-keygen uniq"""
)
_WRITING_OPTIONS: Final = re.compile(
    r"-fprint[0f]?|-fls|-o|-O|-P|-C|-d|-out|--output(-\w+)?|--directory|--directory-prefix|--dump-header|--unix-socket"
)
_WRITE_BY_OPTION: Final = _names("find sort tree git curl wget tar bsdtar unzip openssl gpg base64 xxd go gcc rg")
_LAST_IS_TARGET: Final = _names("cp mv ln install rsync scp")

_CANNOT_BE_UNDONE: Final = {
    r"terraform|tofu|pulumi|cdk|sam|serverless": r"\b(destroy|remove|state rm)\b",
    r"kubectl|oc|helm|k": r"\b(delete|drain|uninstall|replace --force)\b",
    r"docker|podman|nerdctl": r"\b(prune|volume rm|system reset)\b|--privileged|(-v|--volume)[= ]?(/|~):|\bpush\b",
    r"docker-compose|docker|podman": r"\bdown\b.*\s(-v|--volumes)\b",
    r"aws|gcloud|gsutil|az|doctl|heroku|flyctl|fly|vercel|netlify|wrangler|s3cmd": (
        r"\b(delete|destroy|rm|rb|terminate|remove|purge)\b|(delete|terminate)-"
    ),
    r"gh|glab|hub": r"\b(delete|archive)\b|\bpr merge\b.*--admin|-X ?(DELETE|PUT|POST|PATCH)\b",
    r"npm|yarn|pnpm|cargo|twine|gem|poetry|uv|hatch|flit": r"\b(publish|unpublish|deprecate|upload|owner|yank|push)\b",
    r"psql|mysql|mariadb|sqlite3|mongosh?|redis-cli|cqlsh|clickhouse-client|sqlcmd|bq": (
        r"(?i)\b(drop|truncate|delete\s+from|flushall|flushdb|dropdatabase|deletemany|shutdown)\b"
    ),
    r"apt|apt-get|aptitude|dpkg|yum|dnf|rpm|pacman|zypper|apk|snap": (
        r"\b(install|remove|purge|upgrade|dist-upgrade|full-upgrade|erase|autoremove|add|del)\b|(^| )-[SRUie]"
    ),
}
"""Programs, and what in their arguments cannot be taken back or changes the system."""

_DESTROYERS: Final = tuple((re.compile(names), re.compile(said)) for names, said in _CANNOT_BE_UNDONE.items())


def danger_of(command: Command, folder: str | None) -> str | None:
    """Why this command is CRITICAL, as the end of a sentence that begins with "It"; None where it is not."""
    for word in command.words:
        if not word.is_known and re.search(r"\$\{?IFS\b", word.text):
            return "hides its words behind $IFS"
    program = command.program
    if program is None:
        return "runs a program that is only decided at run time" if command.words else None
    return (
        _by_name(program)
        or (_SPECIAL[program](command, folder) if program in _SPECIAL else None)
        or _by_redirect(command, folder)
        or _by_target(program, command, folder)
        or _by_arguments(program, command)
    )


def redirect_danger(redirect: Redirect, folder: str | None) -> str | None:
    """Why this redirection is CRITICAL; None where it is not."""
    if redirect.is_write and takes_over(redirect.target.text.strip('"'), folder):
        return f"writes to {_shown(redirect.target)}"
    return None


def _by_name(program: str) -> str | None:
    if program in _PRIVILEGED:
        return f"takes other rights ({program})"
    if program in _SYSTEM or program.startswith(("mkfs", "fsck", "newfs")):
        return f"changes the system ({program})"
    return None


def _by_redirect(command: Command, folder: str | None) -> str | None:
    return next((why for each in command.redirects if (why := redirect_danger(each, folder))), None)


def _by_target(program: str, command: Command, folder: str | None) -> str | None:
    """Writing to what runs at the next login, or to the system's own folders."""
    targets = list(command.arguments)
    if program in _WRITE_BY_OPTION:
        targets = _values_written(targets)
    elif program not in _WRITERS:
        return None
    if program in _LAST_IS_TARGET and not any(word.text.startswith(("-t", "--target")) for word in targets):
        from_secrets = [word for word in targets[:-1] if ".ssh" in word.text]
        targets = [*from_secrets, *targets[-1:]]
    for word in targets:
        if any(takes_over(text, folder) for text in _paths_in(word)):
            return f"writes to {_shown(word)}"
    return None


def _values_written(arguments: Sequence[Word]) -> list[Word]:
    """What stands behind an option that names a file or folder to write."""
    found = [word for before, word in pairwise(arguments) if _WRITING_OPTIONS.fullmatch(before.text)]
    for word in arguments:
        option, equals, value = word.text.partition("=")
        if equals and _WRITING_OPTIONS.fullmatch(option):
            found.append(Word(value, word.is_known))
        elif re.match(r"-[a-zA-Z]*[oOPC][/~$]", word.text):
            found.append(Word(re.sub(r"\A-[a-zA-Z]*", "", word.text), word.is_known))
    return found


def _paths_in(word: Word) -> list[str]:
    """The word, and what may be a path in it: behind `=`, a short option's letter, or a host."""
    text = word.text.strip('"')
    found = [text]
    if "=" in text:
        found.append(text.partition("=")[2])
    if re.match(r"-[A-Za-z][/~$]", text):
        found.append(text[2:])
    if re.match(r"[\w.@-]+:[/~]", text):
        return [text.partition(":")[2]] if "/.ssh" in text else []
    return found


def _by_arguments(program: str, command: Command) -> str | None:
    said = " ".join(word.text for word in command.arguments)
    for programs, rest in _DESTROYERS:
        if programs.fullmatch(program) and (found := rest.search(said)) is not None:
            return f"cannot be taken back ({program} {found[0].strip()[:40]})"
    return None


def _shown(word: Word) -> str:
    return word.text if len(word.text) <= 60 else word.text[:59] + "…"


def _options(command: Command) -> tuple[str, list[str]]:
    """All letters of short options, and all long options."""
    texts = [word.text for word in command.arguments]
    letters = "".join(text[1:] for text in texts if re.fullmatch(r"-[A-Za-z]+", text))
    return letters, [text for text in texts if text.startswith("--") and text != "--"]


def _operands(command: Command) -> list[Word]:
    return [word for word in command.arguments if not word.text.startswith("-")]


# --- programs of their own kind ------------------------------------------------------------------------------------


def _rm(command: Command, folder: str | None) -> str | None:
    letters, long = _options(command)
    is_recursive = "r" in letters.casefold() or any("--recursive".startswith(text) for text in long)
    if "--no-preserve-root" in long:
        return "removes the root of the file system"
    for word in _operands(command):
        if not word.is_known and is_recursive and not is_root_or_home(word.text.strip('"')):
            return "removes whole folders whose names are only known at run time"
        if _is_wide(word, folder, is_recursive):
            return f"removes {_shown(word)}"
    return None


def _is_wide(word: Word, folder: str | None, is_recursive: bool) -> bool:
    text = word.text.strip('"')
    if is_root_or_home(text) or text.strip("/") in (".", "..", "*", ".*", "./*", "./.*", "../*"):
        return True
    if word.glob_at is not None and (is_recursive or word.glob_at == 0):
        return True
    if re.fullmatch(r"(\./)?\.git/?", text):
        return True
    return (
        is_recursive and place_in(folder, text) in (None, ".") and not re.match(r"/(private/)?(var/)?tmp/[^/.]", text)
    )


def _dd(command: Command, folder: str | None) -> str | None:
    for word in command.arguments:
        if re.match(r"of=(/dev/(?!null\b|stdout\b)|\$|~)", word.text) or (
            word.text.startswith("of=") and word.literal is None
        ):
            return f"overwrites a device or an unknown file ({_shown(word)})"
    return None


def _chmod(command: Command, folder: str | None) -> str | None:
    letters, long = _options(command)
    operands = [word.text for word in _operands(command)]
    is_recursive = "R" in letters or any("--recursive".startswith(text) for text in long)
    if any(is_root_or_home(text) for text in operands[1:]):
        return "changes the rights of the whole system or home"
    if any(re.fullmatch(r"[0-7]*[4-7][0-7]{3}|[ugoa]*\+[rwx]*s[rwxst]*", text) for text in operands[:1]):
        return "lets a program run with its owner's rights"
    if is_recursive and operands and re.fullmatch(r"0?777|a?[+=]rwx", operands[0]):
        return "gives everybody every right, on whole folders"
    if is_recursive and any(place_in(folder, text) is None for text in operands[1:]):
        return "changes rights outside the working directory"
    return None


def _kill(command: Command, folder: str | None) -> str | None:
    targets = [word.text for word in command.arguments]
    return "ends every process" if "-1" in targets[1:] or targets == ["-1"] or targets[-1:] == ["1"] else None


def _pkill(command: Command, folder: str | None) -> str | None:
    letters, _ = _options(command)
    operands = [word.text for word in _operands(command)]
    return "ends every process of somebody" if "u" in letters or operands in ([], ["."], [".*"]) else None


def _git(command: Command, folder: str | None) -> str | None:
    letters, long = _options(command)
    operands = [word.text for word in _operands(command)]
    said = " ".join(word.text for word in command.arguments)

    def has(*names: str) -> bool:
        return any(text.partition("=")[0] in names for text in long)

    if "push" in operands:
        forced = (
            "f" in letters or "d" in letters or has("--force", "--force-with-lease", "--mirror", "--delete", "--prune")
        )
        if forced or any(text.startswith(("+", ":")) for text in operands):
            return "overwrites or removes what others have (git push)"
    if "clean" in operands and ("f" in letters or has("--force")):
        return "removes files that git does not keep (git clean)"
    if "reset" in operands and has("--hard", "--merge"):
        return "throws away changes that are not committed (git reset)"
    if re.search(
        r"\bstash (drop|clear)\b|\breflog (expire|delete)\b|\bupdate-ref (-d|--stdin)\b|\bgc\b.*--prune", said
    ):
        return "throws away what git keeps"
    if re.search(r"\b(filter-branch|filter-repo|fast-import)\b|\bbranch\b.*\s(-D|--delete --force)\b", said):
        return "rewrites or removes history"
    if re.search(
        r"\b(checkout|switch)\b.*\s(-f|--force|--discard-changes)\b|\b(checkout|restore)\b.*\s(--\s+)?(\.|:/)(\s|$)",
        said,
    ):
        return "throws away changes that are not committed"
    if (
        re.search(r"\bconfig\b.*--(global|system)|\bext::|--upload-pa|--receive-pa|--exec-path=", said)
        and "--get" not in said
    ):
        return "changes or chooses what git runs"
    return None


def _find(command: Command, folder: str | None) -> str | None:
    said = [word.text for word in command.arguments]
    roots = list(takewhile(lambda text: not text.startswith(("-", "(", "!")), said))
    chooses = any(text in ("-name", "-iname", "-path", "-regex", "-empty", "-newer", "-mtime") for text in said)
    if "-delete" in said and (not chooses or any(place_in(folder, root) is None for root in roots)):
        return "removes everything that it finds"
    return None


def _history(command: Command, folder: str | None) -> str | None:
    return "changes the shell's history" if command.arguments else None


def _net(command: Command, folder: str | None) -> str | None:
    said = " ".join(word.text for word in command.arguments)
    return "opens this machine to others" if re.search(r"(^|\s)-\w*[elc]\b|exec:|system:|listen", said, re.I) else None


def _upload(command: Command, folder: str | None) -> str | None:
    texts = [word.text for word in command.arguments]
    sends = any(re.match(r"(--(data|form|upload|post-file|body-file)|-[dFT])", text) for text in texts)
    for text in texts if sends else ():
        path = text.rpartition("@")[2].partition(";")[0]
        if "://" not in text and (holds_secrets(path) or takes_over(path, folder)):
            return "sends secrets away"
    return None


def _tar(command: Command, folder: str | None) -> str | None:
    said = " ".join(word.text for word in command.arguments)
    if re.search(r"--(checkpoint-action|to-command|use-compress-program|rsh-command|info-script)", said):
        return "runs a program named in its options"
    return "unpacks over the system" if re.search(r"(-C|--directory)[= ]?(/|~)(\s|$)", said) else None


def _mv(command: Command, folder: str | None) -> str | None:
    operands = _operands(command)
    if operands and operands[-1].text == "/dev/null":
        return "moves files into nothing"
    if any(is_root_or_home(word.text) for word in operands[:-1]):
        return "moves the system or a home away"
    return None


_SPECIAL: Final[Mapping[str, Callable[[Command, str | None], str | None]]] = {
    "rm": _rm,
    "grm": _rm,
    "unlink": _rm,
    "trash": _rm,
    "dd": _dd,
    "chmod": _chmod,
    "chown": _chmod,
    "chgrp": _chmod,
    "kill": _kill,
    "pkill": _pkill,
    "killall": _pkill,
    "git": _git,
    "find": _find,
    "gfind": _find,
    "history": _history,
    "nc": _net,
    "ncat": _net,
    "netcat": _net,
    "socat": _net,
    "curl": _upload,
    "wget": _upload,
    "tar": _tar,
    "mv": _mv,
}
