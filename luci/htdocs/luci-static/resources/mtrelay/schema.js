'use strict';
'require baseclass';
'require mtrelay.values as values';

/*
 * Every option of the UCI file with its default, as the daemon has it: a test holds this table against the daemon's own,
 * names, defaults and bounds. One option a line, `name: kind(default, …)`, for that test reads the lines.
 */

function entry(kind, standard, check) {
	return { kind: kind, standard: standard, check: check || null };
}

function flag(standard) {
	return entry('flag', standard);
}

function choice(standard, words) {
	const made = entry('choice', standard);
	made.words = words;
	return made;
}

function text(standard, check) {
	return entry('text', standard, check ? function(value) { return values[check](value); } : null);
}

function list(standard, check) {
	return entry('list', standard, function(value) { return values[check](value); });
}

function number(standard, min, max) {
	return entry('number', standard, function(value) { return values.number(value, min, max); });
}

function numberOrAuto(standard, min, max) {
	return entry('number', standard, function(value) { return values.numberOrAuto(value, min, max); });
}

const RELAY = {
	enabled: flag('1'),
	listen: list('0.0.0.0:8443', 'listener'),
	fast_mode: flag('1'),
	prefer_ipv6: choice('auto', [ 'auto', 'always', 'never' ]),
	modes: choice('dd ee', [ 'plain', 'dd', 'ee' ]),
	front_domain: text('', 'domain'),
	front_address: text('', 'hostPort'),
	front_measure: number('21600', 0, 604800),
	bind_interface: text('', 'device'),
	fwmark: text('', 'mark'),
	link_host: text('', 'host'),
	link_port: number('', 1, 65535),
	allow: list('', 'block'),
	block: list('', 'block'),
	allow_file: text('', 'path'),
	block_file: text('', 'path'),
	proxy_protocol_from: list('', 'block'),
	limit_lan: flag('0'),
	open_wan: flag('0'),
	seccomp: flag('1'),
	congestion: text('', 'algorithm'),
	notsent_lowat: number('16384', 0, 16777216),
	sndbuf: number('', 4096, 67108864),
	socket_memory_mb: numberOrAuto('auto', 1, 2047),
	pipes: number('', 0, 65536),
	pipe_size: number('', 4096, 1048576),
	ubus_socket: text('', 'path'),
	buffer_size: number('16384', 1024, 65536),
	buffers: number('64', 1, 1048576),
	max_sessions: number('1024', 1, 100000),
	max_sessions_per_ip: number('0', 0, 100000),
	connect_timeout: number('5', 0, 604800),
	handshake_timeout: number('5', 0, 604800),
	answer_timeout: number('4', 0, 604800),
	clock_skew: numberOrAuto('auto', 0, 2147483647),
	clock_trusted: choice('auto', [ 'auto', '1', '0' ]),
	idle_timeout: number('600', 0, 604800),
	drain_timeout: number('10', 0, 604800),
	replay_window: number('16384', 1, 1048576),
	prewarm: number('0', 0, 64),
	stats_listen: text('127.0.0.1:8888', 'listenerOrOff'),
	log_level: choice('info', [ 'error', 'warn', 'info', 'debug', 'trace' ])
};

const USER = {
	name: text('', 'userName'),
	secret: text('', 'secret'),
	enabled: flag('1'),
	max_sessions: number('0', 0, 100000),
	max_ips: number('0', 0, 100000),
	quota_mb: number('0', 0, 1000000000),
	quota_reset: choice('never', [ 'never', 'monthly' ]),
	expires: text('', 'date')
};

const DC = {
	id: text('', 'dcId'),
	address: list('', 'address')
};

return baseclass.extend({
	relay: RELAY,
	user: USER,
	dc: DC,

	/* Gives a form's option the default of the daemon: shown as the placeholder, or as the value that is not written. */
	bind: function(option, spec) {
		if (spec.kind === 'flag' || spec.kind === 'choice')
			option.default = spec.standard;
		else if (spec.standard !== '')
			option.placeholder = spec.standard;

		option.rmempty = true;

		/* A choice that is the default anyway is not written: the file stays as short as its owner made it. */
		if (spec.kind === 'choice') {
			option.write = function(section_id, value) {
				const data = this.map.data, config = this.map.config;

				if (value !== spec.standard)
					data.set(config, section_id, this.option, value);
				else if (data.get(config, section_id, this.option))
					data.unset(config, section_id, this.option);
			};
		}

		if (spec.check) {
			option.validate = function(section_id, value) {
				return value === null || value === undefined || value === '' ? true : spec.check(String(value).trim());
			};
		}

		return option;
	}
});
