# shellcheck shell=bash
# Sourced by up.sh and down.sh: ordinary users of the cluster, whose Unix accounts are made here and removed again.
MARK="ordinary user of the cluster in $LAB" # in the account's comment: only such accounts are removed
VENV=$HERE/../../.venv

add_users() { # user...
  local user
  for user in "$@"; do
    if ! getent passwd "$user" >/dev/null; then
      useradd --comment "$MARK" --home-dir "$LAB/home/$user" --no-create-home --shell /bin/bash "$user" ||
        die "no account for $user"
    fi
    [ "$(comment_of "$user")" != "$MARK" ] || install -d -o "$user" -g "$(id -g "$user")" -m 711 "$LAB/home/$user"
    let_in "$user"
    ! has_accounting || has_association "$user" || sacctmgr --immediate add user "$user" account=root >/dev/null
  done
}

comment_of() { getent passwd "$1" | cut -d: -f5; }
has_association() { [ -n "$(sacctmgr --noheader --parsable2 list associations user="$1" format=user)" ]; }

# Lets a user through the folders above this checkout, its packages and its Python, which may lie in a closed home. The
# user can enter those folders, but not list them.
let_in() { # user
  local folder
  folders_above_us | while read -r folder; do # the outer ones first
    runuser --user "$1" -- test -x "$folder" && continue
    setfacl --modify "user:$1:x" "$folder"
    echo "$folder" >>"$LAB/opened.$1"
  done
}

folders_above_us() {
  local path
  {
    echo "$HERE"
    [ ! -x "$VENV/bin/python" ] || "$VENV/bin/python" -c 'import sys; print(*sys.path[1:], sys.base_prefix, sep="\n")'
  } | while read -r path; do
    path=$(realpath "$path")
    until [ "$path" = / ]; do
      path=$(dirname "$path")
      echo "$path"
    done
  done | sort --unique
}

remove_users() {
  local user file folder
  for file in "$LAB"/opened.*; do
    [ -e "$file" ] || continue
    while read -r folder; do shut_out "${file##*/opened.}" "$folder"; done <"$file"
  done
  for user in $(getent passwd | awk -F: -v mark="$MARK" '$5 == mark { print $1 }'); do
    userdel "$user" || say "note: the account $user is in use, so it stays"
  done
}

# The last such entry goes with the whole list: a mask that stays behind would change what chmod means.
shut_out() { # user folder
  setfacl --remove "user:$1" "$2"
  getfacl --omit-header --absolute-names "$2" | grep -qE '^(user|group):[^:]' || setfacl --remove-all "$2"
}
