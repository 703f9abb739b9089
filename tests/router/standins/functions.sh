# Stands in for OpenWrt's /lib/functions.sh: what a service and a package's scripts ask of it, and no more.

append() {
	eval "$1=\"\${$1}\${$1:+ }\$2\""
}

# A configuration as `uci export` prints it is a shell program that calls these.
package() { :; }

config() {
	SECTION_COUNT=$((SECTION_COUNT + 1))
	SECTION="${2:-cfg$SECTION_COUNT}"
	append SECTIONS "$SECTION"
	eval "TYPE_$SECTION=\$1"
}

option() {
	eval "VALUE_${SECTION}_$1=\$2"
}

list() {
	local at
	eval "at=\$((COUNT_${SECTION}_$1 + 1))"
	eval "COUNT_${SECTION}_$1=$at"
	eval "ITEM_${SECTION}_${1}_$at=\$2"
}

config_load() {
	# A second load begins anew.
	unset $(set | sed -n 's/^\(\(TYPE\|VALUE\|COUNT\|ITEM\)_[A-Za-z0-9_]*\)=.*/\1/p')
	SECTIONS= SECTION_COUNT=0
	eval "$(uci -q export "$1")"
}

config_get() {
	eval "$1=\"\${VALUE_${2}_${3}:-\$4}\""
}

config_get_bool() {
	config_get "$@"
	eval "case \"\$$1\" in 1|on|true|yes|enabled) $1=1 ;; 0|off|false|no|disabled) $1=0 ;; *) $1=\$4 ;; esac"
}

config_foreach() {
	local section type
	for section in $SECTIONS; do
		eval "type=\$TYPE_$section"
		[ "$type" != "$2" ] || "$1" "$section"
	done
}

config_list_foreach() {
	local at=1 count item
	eval "count=\${COUNT_${1}_${2}:-0}"
	while [ "$at" -le "$count" ]; do
		eval "item=\"\$ITEM_${1}_${2}_$at\""
		"$3" "$item"
		at=$((at + 1))
	done
}

services_of() {
	sed -n 's,^\(/etc/init.d/.*\),\1,p' "$IPKG_INSTROOT/usr/lib/opkg/info/$1.list"
}

# The tuple is user=uid:group=gid.
add_user_of() {
	local tuple="$(sed -n 's/^Require-User: //p' "$IPKG_INSTROOT/usr/lib/opkg/info/$1.control")"
	local user="${tuple%%=*}" uid="${tuple#*=}" gid="${tuple##*=}"
	[ -n "$tuple" ] || return 0
	grep -q "^$user:" /etc/group || echo "$user:x:$gid:" >> /etc/group
	grep -q "^$user:" /etc/passwd || echo "$user:x:${uid%%:*}:$gid:$user:/var/run/$user:/bin/false" >> /etc/passwd
}

default_postinst() {
	local name="$(basename "${1%.*}")" file result=0
	add_user_of "$name"
	for file in $(grep '^/etc/uci-defaults/' "/usr/lib/opkg/info/$name.list"); do
		( . "$file" ) && rm -f "$file"
	done
	[ ! -f "/usr/lib/opkg/info/$name.postinst-pkg" ] || ( . "/usr/lib/opkg/info/$name.postinst-pkg" )
	result=$?
	for file in $(services_of "$name"); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" enable
		"$file" start
	done
	return $result
}

default_prerm() {
	local name="$(basename "${1%.*}")" file
	[ ! -f "/usr/lib/opkg/info/$name.prerm-pkg" ] || ( . "/usr/lib/opkg/info/$name.prerm-pkg" )
	for file in $(services_of "$name"); do
		[ "$PKG_UPGRADE" = 1 ] || "$file" disable
		"$file" stop
	done
}

# Functions, as busybox prefers its own applets to programs.
uname() {
	cat /tmp/kernel
}

sleep() { :; }
