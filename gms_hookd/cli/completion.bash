# bash completion for gms-hookd: made by `gms-hookd completion bash`
_gms_hookd() {
    local i path="" words=""
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --config | --state) ((i++)) ;;
        -*) ;;
        *) path+=" ${COMP_WORDS[i]}" ;;
        esac
    done
    case $path in
    # CASES
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o bashdefault -o default -F _gms_hookd gms-hookd
