"""Print a script that completes mailapi's commands, modules, actions and fields in bash, zsh or fish.

To switch it on, add `eval "$(mailapi completion bash)"` to ~/.bashrc, or `mailapi completion fish | source` to
config.fish. The script calls `mailapi completion words WORD…`, which prints the words that the last WORD may become.
"""

import argparse
import contextlib

import mailapi

SCRIPTS = {
    "bash": """\
_mailapi() {
    local IFS=$'\\n'
    COMPREPLY=($(mailapi completion words "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
    if [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _mailapi mailapi
""",
    "zsh": """\
#compdef mailapi
_mailapi() {
    local -a found fields
    found=("${(@f)$(mailapi completion words "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    fields=("${(@M)found:#*=}")
    compadd -S '' -a fields
    found=("${(@)found:#(*=|)}")
    compadd -a found || [[ -n $fields ]] || _files
}
compdef _mailapi mailapi
""",
    "fish": """\
complete --command mailapi --arguments '(mailapi completion words (commandline -opc) (commandline -ct) 2>/dev/null)'
""",
}
OPTIONS_OF_CALL = ("--config", "--as", "--limit", "--after")  # whose next word is their value


def options(parser):
    parser.add_argument("shell", choices=[*SCRIPTS, "words"], help="the shell; words: used by the scripts")
    parser.add_argument("typed", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(args):
    if args.shell in SCRIPTS:
        print(SCRIPTS[args.shell], end="")
        return
    begun = args.typed[-1] if args.typed else ""
    with contextlib.suppress(mailapi.ConfigError, mailapi.ApiError):  # whoever runs the command will see them
        for word in candidates(args.typed[1:-1], begun, args.commands, args.config):
            if word.startswith(begun):
                print(word)


def candidates(before: list[str], begun: str, commands: dict, config: str) -> list[str]:
    """Return words that may follow the words `before` on the command line of mailapi, such as ["users", "queue"].

    `begun` is the typed beginning of the next word; the returned words need not begin with it. `commands` has the
    argument parser of each command by name. `config` is the path of config.py.
    """
    if not before:
        return list(commands)
    if before[0] not in commands or before[-1] == "--config":
        return []
    if begun.startswith("-"):
        return [option for action in commands[before[0]]._actions for option in action.option_strings]
    if before[0] != "call" or before[-1] in OPTIONS_OF_CALL:
        return []
    if "--config" in before:
        config = before[before.index("--config") + 1]
    after_value = zip(before, ["", *before])
    words = [word for word, last in after_value if not word.startswith("-") and last not in OPTIONS_OF_CALL]
    return words_of_call(words[1:], config)


def words_of_call(words: list[str], config: str) -> list[str]:
    """Return words with which the shell can complete `mailapi call` and `words`: modules, actions, fields as "name=".

    Fields that are in `words` already are left out.
    """
    app = mailapi.create_app(config)
    generation = app.generation()
    if not words:
        return [path for path in app.modules if path]
    module = app.module(words[0].strip("/"), generation)
    if len(words) == 1:
        return list(module.endpoints)
    endpoint = module.choose({words[1]: ""})
    fields = endpoint.fields(generation) | endpoint.query if endpoint else {}
    given = {word.partition("=")[0] for word in words[2:]}
    return [f"{name}=" for name in fields if name not in given]
