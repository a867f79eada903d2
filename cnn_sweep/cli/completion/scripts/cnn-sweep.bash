# Completion of cnn-sweep in bash 4 or newer. `cnn-sweep completion --help` says where this goes.

_cnn_sweep() {
    local program=${1/#\~/$HOME} how ending word line cur=${COMP_WORDS[COMP_CWORD]}
    local -a lines
    COMPREPLY=()
    mapfile -t lines < <("$program" __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    read -r how ending <<<"${lines[0]}"
    [[ $cur == "=" ]] && cur=
    for line in "${lines[@]:1}"; do
        COMPREPLY+=("${line%%$'\t'*}")
    done
    case $how in
        values)
            if [[ $ending == nospace ]]; then
                compopt -o nospace
            fi
            ;;
        files)
            if [[ -n $ending || ${#COMPREPLY[@]} -gt 0 ]]; then
                compopt -o filenames
                while IFS= read -r word; do
                    COMPREPLY+=("$word")
                done < <(compgen -f -X "!*$ending" -- "$cur"; compgen -d -- "$cur")
            fi
            [[ ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default
            ;;
        folders)
            compopt -o dirnames
            ;;
    esac
}
complete -F _cnn_sweep cnn-sweep
