# Completion of cnn-sweep in fish. `cnn-sweep completion --help` says where this goes.

function __cnn_sweep_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] "$last" 2>/dev/null)
    set -l how (string split ' ' -- $lines[1])
    switch "$how[1]"
        case values
            printf '%s\n' $lines[2..-1]
        case files
            test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
            __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$last") | string match -r -- ".*/\t.*|.*/\$|.*$how[2]\t.*|.*$how[2]\$"
        case folders
            __fish_complete_directories (string replace -r '^--[^=]*=' '' -- "$last")
    end
end
complete -c cnn-sweep -f -a '(__cnn_sweep_complete)'
