# Completion for bash: options, commands and choices of all programs, as their --help lists them (it comes from the
# option tables). Installed under the name of each program; or: source mert.bash
# zsh has _mert.
_mert() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} help commands command='' own='' w
    help=$("$program" --help 2> /dev/null < /dev/null) || return
    commands=$(sed -n '/^commands/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' <<< "$help")
    if [[ -n $commands ]]; then
        grep -qx 'options:' <<< "$help" && own=yes # options without a command
        if ((COMP_CWORD == 1)) && [[ -z $own || $word != -* ]]; then
            COMPREPLY=($(compgen -W "$commands --help --version" -- "$word"))
            return
        fi
        command=${COMP_WORDS[1]}
        if grep -qxF -- "$command" <<< "$commands"; then
            help=$("$program" "$command" --help 2> /dev/null < /dev/null) || return
        elif [[ -z $own ]]; then
            return
        fi
    fi
    [[ $before == '=' ]] && before=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $word == '=' ]] && word=
    # Choices end a line, "HOW  in words: a|b|c [a]"; the words before them are the option's own.
    w=$(sed -n 's/^  \(-.,\|   \) \(--[a-z0-9-]*\) .*: \([a-z0-9.-]*\(|[a-z0-9.-]*\)\{1,\}\)\( .*\)\{0,1\}$/\2 \3/p' <<< "$help" |
        awk -v option="$before" '$1 == option { gsub(/\|/, " ", $2); print $2 }')
    if [[ -n $w ]]; then
        COMPREPLY=($(compgen -W "$w" -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$(sed -n 's/^  \(-.,\|   \) \(--[a-z][a-z0-9-]*\).*/\2/p' <<< "$help") --version" -- "$word"))
    fi # else files, by -o default
}
complete -o default -o bashdefault -F _mert mert-cqt mert-decode mert-encode mert-kmeans mert-manifest mert-mel mert-model \
    mert-plot mert-probe mert-rvq mert-tensor mert-train
_mert_features() {
    local word=${COMP_WORDS[COMP_CWORD]} options
    [[ $word == -* ]] || return
    options=$("${COMP_WORDS[0]}" --help 2> /dev/null < /dev/null | grep -oE -- '--[a-z]+' | sort -u)
    COMPREPLY=($(compgen -W "$options --help" -- "$word"))
}
complete -o default -o bashdefault -F _mert_features mert-features
