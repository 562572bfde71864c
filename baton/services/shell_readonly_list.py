"""The list of programs that only read, with all options that they may be given. It is meant to be read through.

One line of words per program: `-abc` options without a value, `-n=` one with a value (joined, or the next word),
`--long`, `--long=` likewise, `-NUM` a number as an option; then what its operands are: `PATHS`, `PATTERN` (the first is
a pattern, unless an option gives it; the others are paths), `TEXT`, `ANY` (everything is text, options too), `URLS`, or
nothing for none. `MOST=1`: at most so many operands.

Left out on purpose, because it writes or runs: sort -o -T --compress-program, uniq's second operand, rg --pre -z
--hostname-bin, grep -R (follows links) -f, find -exec -delete -fprint -files0-from, tree -o, diff -l, file -C -m,
tail -f (never ends), git -c -C -p --output --ext-diff --textconv --no-index -O, date -s, hostname with a name,
printf -v, curl -o -O -d -F -T -K -u, wget into files.
"""

from typing import Final

_LOG: Final = """
    -puszi -EFP -wbRMCmcgW -n= -U= -S= -G= -L= -NUM --oneline --graph --all --decorate --no-decorate --stat --shortstat
    --numstat --dirstat --summary --name-only --name-status --no-merges --merges --first-parent --reverse --follow
    --patch --no-patch --no-color --color --word-diff --color-words --topo-order --date-order --no-ext-diff
    --no-textconv --abbrev-commit --no-abbrev-commit --branches --tags --remotes --cc --boundary --left-right
    --cherry-pick --full-history --ancestry-path --no-renames --minimal --patience --histogram --no-prefix --raw
    --full-index --ignore-all-space --ignore-space-change --ignore-blank-lines --function-context --exit-code --quiet
    --check --cached --staged --merge-base --relative --walk-reflogs --parents --children --no-walk --source --count
    --pretty= --format= --since= --until= --after= --before= --author= --committer= --grep= --date= --max-count= --skip=
    --abbrev= --unified= --diff-filter= --find-renames --find-copies --diff-algorithm= --inter-hunk-context=
    --min-parents= --max-parents= --exclude= --glob= PATHS"""

GIT: Final = {
    "status": """-sbvuz --short --branch --porcelain --long --ignored --untracked-files --verbose --ahead-behind
        --no-ahead-behind --show-stash --column --no-column --renames --no-renames PATHS""",
    "log": _LOG,
    "show": _LOG,
    "diff": _LOG,
    "rev-list": _LOG,
    "blame": "-wMCsefltp -L= --porcelain --line-porcelain --root --show-email --date= --abbrev= PATHS",
    "branch": """-arv --list --all --remotes --show-current --verbose --merged --no-merged --no-color --color --column
        --contains= --no-contains= --sort= --format= --points-at=""",
    "tag": "-ln --list --sort= --format= --contains=",
    "remote": "-v --verbose",
    "stash list": _LOG,
    "stash show": _LOG,
    "worktree list": "-v --porcelain --verbose",
    "rev-parse": """-q --show-toplevel --short --abbrev-ref --verify --git-dir --is-inside-work-tree --show-prefix
        --show-cdup --symbolic-full-name --quiet --absolute-git-dir --git-common-dir --all --branches PATHS""",
    "ls-files": """-cdomsukzt --cached --deleted --others --modified --stage --unmerged --exclude-standard --full-name
        --error-unmatch --directory --no-empty-directory --ignored PATHS""",
    "ls-tree": "-rtdlz --name-only --name-status --full-tree --full-name --long PATHS",
    "describe": "--tags --always --dirty --long --all --exact-match --abbrev= --match= --exclude= PATHS",
    "merge-base": "-a --all --is-ancestor --octopus PATHS",
    "cat-file": "-tpse PATHS",
    "shortlog": "-sne --no-merges --since= --until= --all PATHS",
    "grep": """-abcEFGHhiIlLnopqvwWz -A= -B= -C= -e= -m= -NUM --line-number --ignore-case --files-with-matches --count
        --word-regexp --fixed-strings --extended-regexp --perl-regexp --name-only --cached --untracked --and --or --not
        --all-match --heading --break --show-function --context= --after-context= --before-context= --max-depth=
        --max-count= PATTERN""",
}
"""Commands of git, in the repository of the working directory."""

_GREP: Final = """
    -abcEFGHhiIlLnoPqrsTvwxyzZ -A= -B= -C= -m= -e= -NUM --color --colour --line-number --ignore-case --no-ignore-case
    --recursive --files-with-matches --files-without-match --count --only-matching --word-regexp --line-regexp
    --fixed-strings --extended-regexp --basic-regexp --perl-regexp --no-messages --with-filename --no-filename --text
    --invert-match --quiet --silent --null --byte-offset --initial-tab --include= --exclude= --exclude-dir= --context=
    --after-context= --before-context= --max-count= --regexp= --binary-files= --label= PATTERN"""
_SUMS: Final = "-bt PATHS"

READERS: Final = {
    "ls": """-aAbBcCdfFgGhHiklmnNopqQrRsStuUvwxXZ1 --all --almost-all --color --human-readable --recursive --reverse
        --sort --time --size --directory --group-directories-first --classify --full-time --format --si --inode
        --no-group --numeric-uid-gid --indicator-style --time-style PATHS""",
    "cat": "-AbeEnstTuv --number --show-all --number-nonblank --squeeze-blank --show-ends PATHS",
    "head": "-qvz -n= -c= -NUM --quiet --verbose --lines= --bytes= PATHS",
    "tail": "-qvz -n= -c= -NUM --quiet --verbose --lines= --bytes= PATHS",
    "wc": "-clLmw --lines --words --chars --bytes --max-line-length PATHS",
    "grep": _GREP,
    "egrep": _GREP,
    "fgrep": _GREP,
    "rg": """-acFHhiIlnNopPqsSuUvwx0. -A= -B= -C= -e= -g= -m= -t= -T= -j= -M= -d= --color --line-number --no-line-number
        --ignore-case --case-sensitive --smart-case --hidden --no-ignore --no-ignore-vcs --files --files-with-matches
        --files-without-match --count --count-matches --only-matching --word-regexp --line-regexp --fixed-strings
        --pcre2 --multiline --multiline-dotall --no-heading --heading --with-filename --no-filename --json --stats
        --text --invert-match --quiet --trim --vimgrep --column --no-messages --null --crlf --passthru --pretty
        --type-list --unrestricted --no-config --no-follow --no-pre --glob= --iglob= --type= --type-not= --context=
        --after-context= --before-context= --max-count= --regexp= --max-depth= --max-columns= --max-filesize= --sort=
        --sortr= --threads= PATTERN""",
    "nl": "-p -b= -w= -n= -s= -v= PATHS",
    "tac": "PATHS",
    "rev": "PATHS",
    "sort": """-bdfghiMnrRsuVz -k= -t= --numeric-sort --reverse --unique --human-numeric-sort --version-sort
        --ignore-case --stable --key= --field-separator= PATHS""",
    "uniq": "-cdiu -f= -s= -w= --count --repeated --unique --ignore-case PATHS MOST=1",
    "cut": "-sn -b= -c= -d= -f= --complement --delimiter= --fields= --characters= --bytes= --output-delimiter= PATHS",
    "tr": "-cCdst --delete --squeeze-repeats --complement TEXT",
    "column": "-tnex -s= -c= --table --separator= PATHS",
    "diff": """-abBdeEiNpqrstTuwy -U= -C= -W= -I= -x= --unified --brief --recursive --side-by-side --ignore-all-space
        --ignore-space-change --ignore-case --ignore-blank-lines --new-file --color --report-identical-files --text
        --suppress-common-lines --exclude= --width= PATHS""",
    "cmp": "-bls PATHS",
    "comm": "-123i PATHS",
    "stat": "-txsq -c= --terse --format= --printf= PATHS",
    "file": "-bhi0 --brief --mime --mime-type --mime-encoding PATHS",
    "du": "-abchkmsSx -d= --all --human-readable --summarize --total --apparent-size --max-depth= --threshold= PATHS",
    "df": "-ahikmPT --human-readable --print-type PATHS",
    "tree": "-adfhinpstDFAC -L= -I= -P= --dirsfirst --noreport --gitignore --prune --du --si --filelimit= PATHS",
    "sha256sum": _SUMS,
    "sha1sum": _SUMS,
    "md5sum": _SUMS,
    "shasum": "-b -a= PATHS",
    "cksum": "PATHS",
    "realpath": "-emqsz PATHS",
    "readlink": "-efmnqsvz PATHS",
    "cd": "PATHS MOST=1",
    "basename": "-a -s= TEXT",
    "dirname": "TEXT",
    "which": "-as TEXT",
    "type": "-apt TEXT",
    "echo": "ANY",
    "printf": "ANY",
    "pwd": "-LP",  # nosec B105  # a program and its letters
    "whoami": "",
    "id": "-gGnru",
    "groups": "",
    "uname": "-amnoprsv",
    "arch": "",
    "nproc": "--all",
    "hostname": "-sfI",
    "uptime": "-ps",
    "date": "-uIR --utc --iso-8601 --rfc-3339 TEXT MOST=1",
    "true": "",
    "false": "",
}
"""By the bare name: `./ls` and `/tmp/ls` are other programs."""

FIND_TESTS: Final = """-not ! -o -or -a -and ( ) , -print -print0 -prune -empty -ls -true -false -executable -readable
    -writable -xdev -mount -depth -daystart -nouser -nogroup -quit"""
FIND_VALUED: Final = """-name -iname -path -ipath -wholename -iwholename -regex -iregex -regextype -type -maxdepth
    -mindepth -size -mtime -mmin -atime -amin -ctime -cmin -perm -user -group -links -inum -printf -newermt"""

NETWORK: Final = {
    "curl": """-sSfLIikvg46# -m= -w= -A= -H= -X= -o= --silent --show-error --fail --location --head --include --insecure
        --verbose --compressed --globoff --fail-with-body --no-progress-meter --max-time= --connect-timeout= --retry=
        --write-out= --user-agent= --header= --request= --output= URLS""",
    "wget": "-qS -T= -t= -O= --quiet --spider --server-response --timeout= --tries= URLS",
    "ping": "-nq46 -c= -i= -W= -t= -w= TEXT MOST=1",
    "dig": "-46 -t= -x= TEXT",
    "host": "-av46 -t= TEXT",
    "nslookup": "TEXT",
}
"""They read from the network: asked about, as MEDIUM."""

VERSIONED: Final = "python python3 node npm git java javac ruby php perl gcc g++ clang make cmake pip pip3"
"""With `--version` as the only argument. Not yarn, cargo and rustc: a file in the folder names what they run."""
