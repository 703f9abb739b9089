'use strict';
'require baseclass';
'require uci';
'require mtrelay.daemon as daemon';
'require mtrelay.schema as schema';
'require mtrelay.values as values';
'require mtrelay.words as words';

/*
 * Who can reach the relay: what kind of address the WAN has, whether a firewall lets the port in, and which host stands in the
 * links. Everything is read from the router itself; no outside service is asked.
 */

/* { family, kind } of an address: public, private, cgnat (RFC 6598), local or none. */
function kindOf(ip) {
	const four = values.ipv4(ip || '');
	const six = four ? null : values.ipv6(ip || '');

	if (four) {
		const a = four[0], b = four[1];

		if (a === 10 || (a === 172 && b >= 16 && b <= 31) || (a === 192 && b === 168))
			return 'private';

		if (a === 100 && b >= 64 && b <= 127)
			return 'cgnat';

		/* RFC 6333: the router's end of a DS-Lite tunnel; the public address is the provider's and shared. */
		if (a === 192 && b === 0 && four[2] === 0)
			return 'cgnat';

		return a === 0 || a === 127 || a >= 224 || (a === 169 && b === 254) ? 'local' : 'public';
	}

	if (six)
		return six[0] >= 0x2000 && six[0] <= 0x3fff ? 'public' : 'local';

	return 'none';
}

/* The first address of the family on the interface that the default route of that family leaves by. */
function wanAddress(interfaces, family) {
	const everything = family === 4 ? '0.0.0.0' : '::';
	const field = family === 4 ? 'ipv4-address' : 'ipv6-address';
	const candidates = interfaces.filter(function(item) {
		return item.up === true && daemon.rows(item, 'route').some(function(route) {
			return route.target === everything && +route.mask === 0;
		}) && daemon.rows(item, field).length > 0;
	});

	candidates.sort(function(a, b) { return (+a.metric || 0) - (+b.metric || 0); });

	if (!candidates.length)
		return null;

	const addresses = daemon.rows(candidates[0], field).map(function(row) { return String(row.address); });
	const good = addresses.filter(function(address) { return kindOf(address) === 'public'; });

	return good[0] || addresses[0];
}

function covers(ports, port) {
	return String(ports || '').split(' ').some(function(range) {
		const ends = range.split('-');

		return ends[0] !== '' && +ends[0] <= port && port <= +ends[ends.length - 1];
	});
}

/* Whether a firewall rule accepts this TCP port from the WAN for the router itself. */
function hasRule(port) {
	return uci.sections('firewall', 'rule').some(function(rule) {
		const protocols = [].concat(rule.proto || 'tcp udp').join(' ').toLowerCase().split(' ');
		const lets = protocols.indexOf('tcp') >= 0 || protocols.indexOf('tcpudp') >= 0 || protocols.indexOf('all') >= 0;

		return rule.enabled !== '0' && rule.target === 'ACCEPT' && rule.src === 'wan' && !rule.dest && lets
			&& !rule.src_ip && covers([].concat(rule.dest_port || []).join(' '), port);
	});
}

function option(name) {
	const relay = uci.sections('mtrelay', 'relay')[0] || {};
	const value = [].concat(relay[name] || []).join(' ').trim();

	return value === '' ? schema.relay[name].standard : value;
}

return baseclass.extend({
	kindOf: kindOf,
	wanAddress: wanAddress,

	/* An option of the relay's section as text, with the daemon's default. `uci` must have loaded mtrelay. */
	option: option,

	/* The ports of all listeners. */
	ports: function() {
		return option('listen').split(' ').map(function(text) {
			const found = values.socketAddress(text);

			return found ? found.port : 0;
		}).filter(function(port, at, all) { return port > 0 && all.indexOf(port) === at; });
	},

	/* The host and port of links: { host, port, source }, the source being set, listen, wan or page. */
	endpoint: function(interfaces) {
		const own = option('listen').split(' ').map(values.socketAddress).filter(function(found) {
			return found && found.parts.some(function(part) { return part !== 0; });
		})[0];
		const wan = wanAddress(interfaces, 4);
		const port = +option('link_port') || this.ports()[0] || null;
		const set = option('link_host');

		if (set)
			return { host: set.charAt(0) === '[' ? set.slice(1, -1) : set, port: port, source: 'set' };

		if (own)
			return { host: own.ip, port: port, source: 'listen' };

		if (kindOf(wan) === 'public')
			return { host: wan, port: port, source: 'wan' };

		return { host: window.location.hostname.split('[').join('').split(']').join(''), port: port, source: 'page' };
	},

	/* The arguments of links.of(): host, port, modes and front domain. */
	where: function(interfaces) {
		const endpoint = this.endpoint(interfaces);

		return {
			host: endpoint.host,
			port: endpoint.port,
			source: endpoint.source,
			modes: option('modes').split(',').join(' ').split(' '),
			frontDomain: option('front_domain')
		};
	},

	/* The sentences of "Can it be reached?": [{ level, text }]. */
	describe: function(interfaces) {
		const found = [];
		const say = function(level, text) { found.push({ level: level, text: text }); };
		const four = wanAddress(interfaces, 4), six = wanAddress(interfaces, 6);
		const port = +option('link_port') || this.ports()[0] || 0;
		const endpoint = this.endpoint(interfaces);

		switch (kindOf(four)) {
		case 'public':
			say('good', _('The WAN address %s is public: clients on the Internet can find this router.').format(words.technical(four)));
			break;
		case 'cgnat':
			say('bad', _('The WAN address %s is shared by the provider among many customers (CGNAT): over IPv4 this router cannot be reached from the Internet. A public address from the provider, or IPv6, would help.').format(words.technical(four)));
			break;
		case 'private':
			say('note', _('The WAN address %s is private: another router stands in front of this one. Forward TCP port %d there to this router.').format(words.technical(four), port));
			break;
		default:
			say('note', _('The router has no IPv4 address on the WAN.'));
		}

		if (kindOf(six) === 'public')
			say('good', _('The WAN address %s is public: clients with IPv6 can find this router.').format(words.technical(six)));

		this.ports().forEach(function(each) {
			if (option('open_wan') === '1')
				say('good', _('Port %d is open on the WAN: the service opens it while it runs.').format(each));
			else if (hasRule(each))
				say('good', _('Port %d is open on the WAN by a firewall rule of yours.').format(each));
			else
				say('note', _('Port %d is closed on the WAN: only devices at home can connect. Settings can open it.').format(each));
		});

		if (endpoint.source === 'set')
			say('good', _('Links and QR codes show %s, port %d.').format(words.technical(endpoint.host), endpoint.port));
		else if (endpoint.source === 'page')
			say('note', _('Links and QR codes show %s, which only works at home. Set the name or address for links in Settings.').format(words.technical(endpoint.host)));
		else
			say('note', _('Links and QR codes show %s, port %d. If that address changes, set a DDNS name in Settings.').format(words.technical(endpoint.host), endpoint.port));

		return found;
	}
});
