'use strict';
'require baseclass';

/*
 * The meaning of each number on the pages, shown as a tooltip, by its path in the answers of the daemon. The sentences are those of the
 * daemon's own table of metrics.
 */

const HELP = {
	'uptime': _('Time since the daemon started.'),
	'sessions.active': _('Live sessions.'),
	'sessions.total': _('Sessions since the start, live ones included.'),
	'sessions.peak': _('Highest number of live sessions at one time since the start.'),
	'bytes': _('Bytes relayed: up from clients to DCs, down from DCs to clients.'),
	'buffers.count': _('Maximum number of relay buffers.'),
	'buffers.in_use': _('Relay buffers in use.'),
	'memory.rss_kib': _('Resident memory of the daemon.'),
	'closes': _('Ended sessions by close reason.'),
	'connect_failures': _('Failed connection attempts to addresses of all DCs, by kind of failure.'),
	'rejects': _('Connections refused before a session began, by reason.'),
	'dcs.created': _('DC connections given to a session.'),
	'dcs.active': _('Open DC connections of sessions.'),
	'dcs.failed': _('Failed connection attempts to addresses of the DC.'),
	'dcs.dc_closed': _('DC connections closed or reset by the DC.'),
	'dcs.bytes': _('Bytes relayed: up from clients to the DC, down from the DC to clients.'),
	'addresses.state': _('State of the address; a cooling one is not preferred until its cool-down ends.'),
	'addresses.rtt_ms': _('Smoothed connect time of the address.'),
	'addresses.retry_in': _('Time until the cool-down of the address ends.'),
	'users.active': _('Live sessions of the user.'),
	'users.total': _('Sessions of the user since the start, live ones included.'),
	'users.bytes': _('Bytes relayed for the user: up from the clients, down to the clients.'),
	'users.rejects': _('Connections with the user\'s secret that were refused before a session began.'),
	'users.quota_used': _('Bytes in both directions that count against the user\'s quota.'),
	'users.quota': _('Traffic quota of the user.')
};

return baseclass.extend({
	/* The sentences of some paths, one after the other. */
	help: function(/* … */) {
		return Array.prototype.map.call(arguments, function(path) { return HELP[path]; }).join(' ');
	}
});
