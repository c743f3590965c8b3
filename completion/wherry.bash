# completion/wherry.bash - owns completion in bash: the line up to the cursor as words, and what is offered as the shell
# reads it.  What can stand there, `wherry complete` says (tools/wherry/cmd_complete.c).
#
# SPDX-License-Identifier: MIT
#
# Nothing of the line and nothing that is offered is ever evaluated: names of objects come from other processes.
# shellcheck shell=bash

# Reads COMP_LINE up to COMP_POINT, since COMP_WORDS is cut at each ":" and "=".  Sets words (quotes taken off), word
# (the last), quote (one that is open), kept (how much of word stands before what readline will replace) and redirect
# (word is the file of a redirection).
_wherry_words() {
    local line=${COMP_LINE:0:COMP_POINT} i c inside='' before=0 escapes=''
    words=() word='' quote='' kept=0 redirect=''
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        if [[ $quote ]]; then
            if [[ $c == "$quote" ]]; then
                quote='' escapes='' kept=$before
            elif [[ $c == \\ && ($escapes || ($quote == '"' && ${line:i+1:1} == [\\\"\$\`])) ]]; then
                i=$((i + 1)) && word+=${line:i:1}
            else
                word+=$c
            fi
            continue
        fi
        case $c in
            \\) i=$((i + 1)) && word+=${line:i:1} inside=1 ;;
            \' | \") quote=$c before=$kept kept=${#word} inside=1 ;;
            [[:space:]])
                [[ $inside && ! $redirect ]] && words+=("$word")
                [[ $inside ]] && redirect=''
                word='' inside='' kept=0
                ;;
            [\<\>])
                [[ $inside && $word != +([0-9]) && ! $redirect ]] && words+=("$word")
                word='' inside='' kept=0 redirect=1
                ;;
            *)
                inside=1
                if [[ $c == '$' && ${line:i+1:1} == \' ]]; then
                    escapes=1 # $'...'
                    continue
                fi
                word+=$c
                [[ $COMP_WORDBREAKS == *"$c"* ]] && kept=${#word}
                ;;
        esac
    done
    # variables set for this command alone
    while [[ ${words[0]-} == [A-Za-z_]*=* ]]; do
        words=("${words[@]:1}")
    done
}

# A name as it goes into the line; fails for one that cannot go into the quotes that are open.
_wherry_quote() {
    local text=$1
    case $quote in
        '')
            [[ $text == *[!A-Za-z0-9_@%+=:,./-]* ]] && printf -v text %q "$text"
            ;;
        \')
            [[ $text == *[[:cntrl:]]* ]] && return 1
            text=${text//\'/\'\\\'\'}
            ;;
        \")
            [[ $text == *[[:cntrl:]!]* ]] && return 1
            text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//\$/\\\$} text=${text//\`/\\\`}
            ;;
    esac
    quoted=$text
}

# The command behind "--".
_wherry_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -- ]] && break
    done
    if declare -F _command_offset >/dev/null; then
        _command_offset "$((i + 1))"
    elif ((COMP_CWORD == i + 1)); then
        mapfile -t COMPREPLY <<<"$(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")"
    else
        compopt -o default
    fi
}

_wherry() {
    local program=${1/#\~\//$HOME/} words word quote kept redirect quoted lines line text what
    local -A offered=()
    _wherry_words
    COMPREPLY=()
    if [[ $redirect || ${#words[@]} -eq 0 ]]; then
        compopt -o default
        return
    fi
    # no process substitution: it would change the "$!" of who types
    mapfile -t lines <<<"$("$program" complete "${words[@]:1}" "$word" 2>/dev/null)"
    for line in "${lines[@]}"; do
        printf -v text %b "${line%%$'\t'*}"
        what=${line#*$'\t'}
        if [[ $text ]]; then
            _wherry_quote "${text:kept}" && [[ ! ${offered[.$quoted]-} ]] || continue
            offered[.$quoted]=1
            COMPREPLY+=("$quoted")
        elif [[ $what == files ]]; then
            compopt -o default
        elif [[ $what == command* ]]; then
            _wherry_command
            return
        fi
    done
    # more of the word is to come
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace
    fi
}

complete -F _wherry wherry
