/**
 * The scripts that teach a shell to complete op-dbus. They only carry words to
 * `op-dbus __complete` and its answer back (complete.ts), so they need no change when
 * commands do.
 */

import { COMPLETE_WORD } from "./completion_word.ts";

/** Shells with a script. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = typeof SHELLS[number];

const BASH = String.raw`# bash completion for op-dbus: op-dbus completions bash
_op_dbus() {
  local IFS=$' \t\n' program=\${1/#\~/$HOME} line current before='' breaks='' c
  local -a words lines
  # COMP_WORDS is cut at : @ and = too; the line itself is not.
  line=\${COMP_LINE:0:COMP_POINT}
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  mapfile -t lines < <("$program" ${COMPLETE_WORD} "\${words[@]:1}" 2>/dev/null)
  current=\${words[\${#words[@]}-1]}
  for c in : = @; do [[ $COMP_WORDBREAKS == *"$c"* ]] && breaks+=$c; done
  [[ $breaks ]] && before=\${current%"\${current##*["$breaks"]}"}
  COMPREPLY=()
  for line in "\${lines[@]:1}"; do
    line=\${line%%$'\t'*}
    COMPREPLY+=("$(printf %q "\${line#"$before"}")")
  done
  case \${lines[0]-} in
    files) compopt -o default ;;
    folders) compopt -o dirnames ;;
  esac
}
complete -F _op_dbus op-dbus
`;

const ZSH = String.raw`#compdef op-dbus
# zsh completion for op-dbus: op-dbus completions zsh
_op-dbus() {
  local -a before lines candidates
  local line
  (( CURRENT > 2 )) && before=("\${(@)words[2,CURRENT-1]}")
  lines=("\${(@f)$(\${~words[1]} ${COMPLETE_WORD} "\${(@Q)before}" "\${(Q)PREFIX}" 2>/dev/null)}")
  for line in "\${(@)lines[2,-1]}"; do
    candidates+=("\${\${line%%$'\t'*}//:/\\:}:\${line#*$'\t'}")
  done
  (( $#candidates )) && _describe op-dbus candidates
  case $lines[1] in
    files) _files ;;
    folders) _files -/ ;;
  esac
}
if [[ $funcstack[1] == _op-dbus ]]; then _op-dbus "$@"; else compdef _op-dbus op-dbus; fi
`;

const FISH = String.raw`# fish completion for op-dbus: op-dbus completions fish
function __op_dbus_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (command $words[1] ${COMPLETE_WORD} $words[2..-1] "$current" 2>/dev/null)
    for line in $lines[2..-1]
        echo $line
    end
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case folders
            __fish_complete_directories "$current"
    end
end
complete -c op-dbus -f -a '(__op_dbus_complete)'
`;

/** The script for a shell. */
export function completionScript(shell: Shell): string {
  // String.raw keeps a backslash before each "$" that template syntax needs there.
  return { bash: BASH, zsh: ZSH, fish: FISH }[shell].replaceAll("\\${", "${");
}
