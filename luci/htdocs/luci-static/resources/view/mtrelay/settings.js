'use strict';
'require view';
'require form';
'require uci';
'require mtrelay.daemon as daemon';
'require mtrelay.parts as parts';
'require mtrelay.schema as schema';

/* An option of the relay's section, bound to its default and its check. */
function add(s, tab, kind, name, title, help) {
	return schema.bind(s.taboption(tab, kind, name, title, help), schema.relay[name]);
}

function words(option, texts) {
	Object.keys(texts).forEach(function(word) { option.value(word, texts[word]); });
}

function general(s) {
	let o;

	add(s, 'general', form.Flag, 'enabled', _('Enabled'), _('Whether the relay runs. If not, the service does not start, and mtrelay run ends at once.'));

	add(s, 'general', form.DynamicList, 'listen', _('Listen on'),
		_('Addresses and ports that clients connect to: 0.0.0.0 stands for every IPv4 address of the router, [::] for every IPv6 one. Port 443 looks most like a website, if LuCI itself does not use it.'));

	o = add(s, 'general', form.MultiValue, 'modes', _('Kinds of links'),
		_('dd is understood by every client of today. ee looks like a website and needs a front domain. plain is easy to recognise: for very old clients only.'));
	words(o, { ee: 'ee', dd: 'dd', plain: 'plain' });
	o.default = schema.relay.modes.standard.split(' ');
	o.load = function(section_id) {
		const set = [].concat(uci.get('mtrelay', section_id, 'modes') || []).join(' ').split(',').join(' ').trim();
		return set === '' ? null : set.split(' ').filter(function(word) { return word !== ''; });
	};
	o.write = function(section_id, value) {
		const text = L.toArray(value).join(' ');

		/* The same words in the same or in another order are no change. */
		if (L.toArray(value).slice().sort().join(' ') !== schema.relay.modes.standard || uci.get('mtrelay', section_id, 'modes'))
			uci.set('mtrelay', section_id, 'modes', text);
	};
	o.validate = function() { return true; };

	add(s, 'general', form.Value, 'link_host', _('Address in links'),
		_('Host that links and QR codes show: a DDNS name, or the public address of the router. Empty: LuCI takes the WAN address if it is public, the command line the address of a listener.'));

	add(s, 'general', form.Value, 'link_port', _('Port in links'),
		_('Port that links show, if another router forwards a different one to this router. Empty: the port of the first listener.'));

	add(s, 'general', form.Flag, 'open_wan', _('Open on the WAN'),
		_('Opens the listen ports on the WAN while the service runs; the configuration of the firewall does not change. Not needed for clients at home.'));

	o = s.taboption('general', form.DummyValue, '_open_wan');
	o.depends('open_wan', '1');
	o.cfgvalue = function() {
		return E('div', { 'class': 'mtrelay-warning' }, [
			_('Anyone on the Internet can then connect to these ports. A client without a secret is not admitted, but scanners and censors will find the port: with a front domain they are shown that website, without one they get no answer. The traffic of everyone with a link uses your line.')
		]);
	};
}

function disguise(s) {
	add(s, 'front', form.Value, 'front_domain', _('Front domain'),
		_('The website that ee links pretend to be, and that unauthenticated clients are shown. Choose one that is common where your users are, is hosted near the router, speaks TLS 1.3 and is not blocked: not google.com, and not a site that answers from another continent. Changing it makes the old ee links invalid. Empty: dd links only.'));

	add(s, 'front', form.Value, 'front_address', _('Address of the front site'),
		_('Host and port that connections to the front site go to. Empty: port 443 of the front domain.'));

	add(s, 'front', form.Value, 'front_measure', _('Seconds between measurements of the website'),
		_('Seconds between measurements of the front site\'s certificate, whose length our answers imitate. 0: never.'));

	const o = add(s, 'front', form.ListValue, 'clock_trusted', _('Clock of the router'),
		_('Whether the clock of the router is right. auto: as the kernel says. Set it to right if the time service of the router does not tell the kernel.'));

	words(o, { auto: _('automatic: as the kernel says'), '1': _('is right'), '0': _('is not to be trusted') });

	add(s, 'front', form.Value, 'clock_skew', _('Clock difference allowed, in seconds'),
		_('How far the clock of a client may be off in an ee handshake. auto: 20 minutes behind to 10 minutes ahead once the router knows the time, anything before. 0: anything.'));

	add(s, 'front', form.Value, 'replay_window', _('Handshakes remembered'),
		_('Number of handshakes remembered. A handshake that was recorded and is sent again gets no answer.'));
}

function access(s) {
	add(s, 'access', form.DynamicList, 'allow', _('Allow only'), _('Blocks of client addresses that may connect. Empty, and no allow list file: all.'));
	add(s, 'access', form.DynamicList, 'block', _('Block'), _('Blocks of client addresses that may not connect.'));
	add(s, 'access', form.Value, 'allow_file', _('Allow list file'), _('A file with more blocks to allow, one a line.'));
	add(s, 'access', form.Value, 'block_file', _('Block list file'), _('A file with more blocks to block, one a line.'));
	add(s, 'access', form.Value, 'max_sessions', _('Sessions at once'),
		_('Limit of live sessions of all users together. One device opens eight and more.'));
	add(s, 'access', form.Value, 'max_sessions_per_ip', _('Sessions at once from one address'),
		_('Limit of live sessions from one client address. All devices behind one router count together. 0: no limit.'));
	add(s, 'access', form.Flag, 'limit_lan', _('Limit the LAN too'),
		_('One address has at most an eighth of the pending handshakes. Addresses of the LAN may have all, unless this is set: behind a tunnel or a forwarder, connections from outside seem to come from the LAN.'));
	add(s, 'access', form.DynamicList, 'proxy_protocol_from', _('Trusted balancers'),
		_('Blocks of addresses whose PROXY protocol header is believed: a load balancer of yours in front of the relay. Leave it empty if there is none.'));
}

function network(s) {
	let o = add(s, 'network', form.ListValue, 'prefer_ipv6', _('IPv6 to Telegram'),
		_('Address family of connections to Telegram. auto: IPv6 and IPv4 are raced. always: IPv6 is preferred. never: IPv4 only.'));

	words(o, { auto: _('automatic: IPv6 and IPv4 are raced'), always: _('IPv6 preferred'), never: _('IPv4 only') });

	add(s, 'network', form.Value, 'bind_interface', _('Way out'),
		_('The network device through which Telegram is reached: a VPN, say wg0. Empty: as the routing table says.'));
	add(s, 'network', form.Value, 'fwmark', _('Firewall mark'), _('Firewall mark of connections to Telegram, for policy routing.'));
	add(s, 'network', form.Value, 'prewarm', _('Connections kept ready'),
		_('Idle connections kept ready for each recently used data centre, so that a session begins faster. 0: none.'));
	add(s, 'network', form.Flag, 'fast_mode', _('Fast mode'), _('Downloads pass without being encrypted a second time. Switch it off only to look for a fault.'));

	o = add(s, 'network', form.Value, 'congestion', _('Congestion control'),
		_('Congestion control algorithm of client connections. Empty: the system\'s default. bbr helps on lossy lines; it needs the package kmod-tcp-bbr.'));
	o.value('bbr');
	o.value('cubic');

	add(s, 'network', form.Value, 'notsent_lowat', _('Unsent bytes per socket'),
		_('Bytes that wait unsent in the socket of one client (TCP_NOTSENT_LOWAT). Bounds the memory of slow clients. 0: the system\'s default.'));
	add(s, 'network', form.Value, 'sndbuf', _('Send buffer in bytes'),
		_('Send buffer of a client\'s socket in bytes. Empty: the kernel sizes it, which is best nearly always.'));
}

function memory(s) {
	add(s, 'memory', form.Value, 'buffer_size', _('Buffer size in bytes'), _('Size of a relay buffer in bytes.'));
	add(s, 'memory', form.Value, 'buffers', _('Number of buffers'),
		_('Number of relay buffers. Size times number is the most that relayed bytes ever take. If all are in use, sessions wait for one another.'));
	add(s, 'memory', form.Value, 'socket_memory_mb', _('Socket memory in MiB'),
		_('MiB that the buffers of all client sockets may hold together. auto: an eighth of the RAM.'));
	add(s, 'memory', form.Value, 'pipes', _('Pipes'),
		_('Number of pipes. Downloads pass through them inside the kernel. Empty: 4 to 32, depending on the RAM. 0: none.'));
	add(s, 'memory', form.Value, 'pipe_size', _('Pipe size in bytes'), _('Size of a pipe in bytes. Empty: 1 MiB.'));
}

function timeouts(s) {
	add(s, 'timeouts', form.Value, 'connect_timeout', _('Connecting'),
		_('Seconds for one connection attempt; the other addresses are raced meanwhile. 0: no limit.'));
	add(s, 'timeouts', form.Value, 'answer_timeout', _('First answer'),
		_('Seconds for a data centre to answer a first request; then another address is tried. 0: no limit.'));
	add(s, 'timeouts', form.Value, 'handshake_timeout', _('Handshake'), _('Seconds for a client to authenticate. 0: no limit.'));
	add(s, 'timeouts', form.Value, 'idle_timeout', _('Silence'),
		_('Seconds without a byte in either direction until a session ends. 0: no limit.'));
	add(s, 'timeouts', form.Value, 'drain_timeout', _('Draining'), _('Seconds that sessions have to end by themselves when the service stops. 0: they are ended at once.'));
}

function service(s) {
	let o = add(s, 'service', form.ListValue, 'log_level', _('Log level'),
		_('Least severe messages that are logged. info: one line for each session that ended.'));

	words(o, { error: _('errors'), warn: _('warnings and errors'), info: _('info and above'), debug: _('debug'), trace: _('everything') });

	o = add(s, 'service', form.Value, 'stats_listen', _('Statistics on'),
		_('Address and port that serve /stats, /metrics for Prometheus and /status. Anyone who reaches the address can read them. 0: off.'));
	/* An empty value in the file is "off" as well; a form would take it for "not set" and drop it. */
	o.load = function(section_id) {
		const set = uci.get('mtrelay', section_id, 'stats_listen');
		return set === '' ? '0' : set;
	};

	add(s, 'service', form.Flag, 'seccomp', _('System call filter'), _('The process gives up every system call that it does not need. Switch it off only to look for a fault.'));
	add(s, 'service', form.Value, 'ubus_socket', _('ubus socket'), _('Path of the socket of ubusd. Empty: the usual places.'));
}

return view.extend({
	load: function() {
		return Promise.all([ daemon.ask('status'), uci.load('mtrelay') ]);
	},

	render: function(data) {
		const status = data[0];

		/* A file without its section is a file of defaults; the section is written with the first change. */
		if (!uci.sections('mtrelay', 'relay').length)
			uci.add('mtrelay', 'relay', 'main');

		const m = new form.Map('mtrelay');
		const s = m.section(form.TypedSection, 'relay');

		s.anonymous = true;
		s.addremove = false;
		s.tab('general', _('General'));
		s.tab('front', _('Disguise'));
		s.tab('access', _('Access'));
		s.tab('network', _('Network'));
		s.tab('memory', _('Memory'));
		s.tab('timeouts', _('Timeouts'));
		s.tab('service', _('Service'));

		[ general, disguise, access, network, memory, timeouts, service ].forEach(function(fill) { fill(s); });

		return m.render().then(function(node) {
			return parts.page([
				E('h2', {}, [ _('Settings') ]),
				E('p', { 'class': 'mtrelay-help' }, [ _('Grey values are the defaults of empty fields. Save & Apply keeps live sessions, except where the relay has to restart: for a port below 1024, the firewall mark, the network device, the system call filter, the drain time, and a list file or ubus socket in another folder. Buffers, pipes and the address of the statistics change at the next restart of the service.') ]),
				status.fault ? parts.callout('note', daemon.explain(status.fault)) : '',
				node
			], 'settings');
		});
	}
});
