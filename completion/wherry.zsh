#compdef wherry
# completion/wherry.zsh - owns completion in zsh.  What can stand in the place of the last word, `wherry complete` says
# (tools/wherry/cmd_complete.c); the shell quotes what it inserts.
#
# SPDX-License-Identifier: MIT
#
# Nothing that is offered is ever evaluated: names of objects come from other processes.

_wherry() {
    local -a said lines ends goes_on ends_shown goes_on_shown
    local line text what shown
    said=("${(@Q)words[2,CURRENT-1]}")
    (( CURRENT > 2 )) || said=()
    lines=("${(@f)$("${(Q)words[1]/#\~\//$HOME/}" complete "${(@)said}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)lines}"; do
        text=${(g::)${line%%$'\t'*}} what=${(g::)${line#*$'\t'}}
        if [[ -z $text && $what == files ]]; then
            [[ $PREFIX == --*=* ]] && compset -P '*='
            _files
            return
        elif [[ -z $text && $what == command\ * ]]; then
            shift "${what#command }" words
            (( CURRENT -= ${what#command } ))
            _normal
            return
        elif [[ -n $text ]]; then
            shown=${(V)text}${what:+  -- $what}
            if [[ $text == *[/:=] ]]; then
                goes_on+=("$text") goes_on_shown+=("$shown")
            else
                ends+=("$text") ends_shown+=("$shown")
            fi
        fi
    done
    (( ${#ends} )) && compadd -l -d ends_shown -a ends
    (( ${#goes_on} )) && compadd -l -S '' -d goes_on_shown -a goes_on
    (( ${#ends} + ${#goes_on} ))
}

_wherry "$@"
