'use strict';
'require baseclass';

/*
 * Checks of option values, by the rules of the daemon: a form refuses what the daemon would refuse.
 * Each check returns true, or the sentence that is shown under the field.
 */

const MAX_DOMAIN_LEN = 182;
const OCTET = /^(0|[1-9]\d{0,2})$/;
const GROUP = /^[0-9a-fA-F]{1,4}$/;
const DIGITS = /^\d+$/;
const LABEL = /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$/;
const HEX = /^([0-9a-fA-F]{2})+$/;
const BASE64URL = /^[A-Za-z0-9_-]+=*$/;
const HEX_NUMBER = /^0[xX][0-9a-fA-F]{1,8}$/;
const DEVICE = /^[!-.0-~]+$/;
const ALGORITHM = /^[A-Za-z0-9_-]{1,15}$/;
const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const V4_WITH_PORT = /^([^:]*):(\d+)$/;
const V6_WITH_PORT = /^\[([^\]]*)\]:(\d+)$/;
const BRACKETS = /^\[(.*)\]$/;
const NOT_ASCII = /[^\x00-\x7f]/g;
const CONTROL = /[\x00-\x1f\x7f]/;

function ipv4(text) {
	const octets = text.split('.');

	return octets.length === 4 && octets.every(function(octet) {
		return OCTET.test(octet) && +octet <= 255;
	}) ? octets.map(Number) : null;
}

function groupsOf(text) {
	return text === '' ? [] : text.split(':');
}

function ipv6(text) {
	let tail = text;
	const colon = text.lastIndexOf(':');

	if (colon >= 0 && text.indexOf('.') > colon) {
		const octets = ipv4(text.substring(colon + 1));

		if (!octets)
			return null;

		const high = (octets[0] * 256 + octets[1]).toString(16);
		const low = (octets[2] * 256 + octets[3]).toString(16);
		tail = text.substring(0, colon + 1) + high + ':' + low;
	}

	const halves = tail.split('::');

	if (halves.length > 2)
		return null;

	const head = groupsOf(halves[0]);
	const rest = halves.length === 2 ? groupsOf(halves[1]) : [];
	const count = head.length + rest.length;

	if (halves.length === 2 ? count > 7 : count !== 8)
		return null;

	if (!head.concat(rest).every(function(group) { return GROUP.test(group); }))
		return null;

	const zeros = [];

	while (zeros.length < 8 - count)
		zeros.push('0');

	return head.concat(zeros, rest).map(function(group) { return parseInt(group, 16); });
}

function isZero(parts) {
	return parts.every(function(part) { return part === 0; });
}

function isHostName(text) {
	return text.length >= 1 && text.length <= MAX_DOMAIN_LEN && text.split('.').every(function(label) {
		return label.length <= 63 && LABEL.test(label);
	});
}

/* The bytes of a written secret as hex: hex already, or base64 as some links have it. */
function hexOf(text) {
	if (HEX.test(text))
		return text.toLowerCase();

	if (!BASE64URL.test(text))
		return null;

	try {
		const bytes = window.atob(text.split('=')[0].split('-').join('+').split('_').join('/'));

		return bytes.split('').map(function(byte) {
			return ('0' + byte.charCodeAt(0).toString(16)).slice(-2);
		}).join('');
	}
	catch (error) {
		return null;
	}
}

/* The key in a written secret: alone, behind dd, or behind ee with a domain after it. */
function keyOf(text) {
	const hex = hexOf(text) || '';
	const form = hex.substring(0, 2);

	if (hex.length === 32)
		return hex;

	if ((form === 'dd' && hex.length === 34) || (form === 'ee' && hex.length > 34))
		return hex.substring(2, 34);

	return null;
}

/* { ip, port } of 192.0.2.1:443 or [2001:db8::1]:443. */
function socketAddress(text) {
	const four = V4_WITH_PORT.exec(text);
	const six = V6_WITH_PORT.exec(text);
	const parts = four ? ipv4(four[1]) : (six ? ipv6(six[1]) : null);
	const port = four ? +four[2] : (six ? +six[2] : -1);

	return parts && port >= 0 && port <= 65535 ? { ip: (four || six)[1], parts: parts, port: port } : null;
}

return baseclass.extend({
	ipv4: ipv4,
	ipv6: ipv6,
	socketAddress: socketAddress,
	isHostName: isHostName,
	keyOf: keyOf,

	number: function(text, min, max) {
		return (DIGITS.test(text) && +text >= min && +text <= max)
			|| _('A whole number from %d to %d').format(min, max);
	},

	numberOrAuto: function(text, min, max) {
		return text === 'auto' || (DIGITS.test(text) && +text >= min && +text <= max)
			|| _('"auto", or a whole number from %d to %d').format(min, max);
	},

	listener: function(text) {
		return socketAddress(text) ? true : _('An address with a port: 0.0.0.0:8443 or [::]:8443');
	},

	/* 0 switches the statistics pages off. */
	listenerOrOff: function(text) {
		return text === '0' || socketAddress(text) ? true : _('An address with a port, such as 127.0.0.1:8888, or 0 for none');
	},

	address: function(text) {
		const found = socketAddress(text);
		const multicast = found && (found.parts.length === 4
			? (found.parts[0] >= 224 && found.parts[0] <= 239)
			: found.parts[0] >= 0xff00);

		return found && found.port !== 0 && !multicast && !isZero(found.parts) ? true
			: _('An address with a port: 149.154.167.51:443 or [2001:67c:4e8:f002::a]:443');
	},

	hostPort: function(text) {
		const named = V4_WITH_PORT.exec(text);
		const port = named ? +named[2] : 0;

		if (socketAddress(text))
			return this.address(text);

		return named && isHostName(named[1]) && port >= 1 && port <= 65535 ? true
			: _('A host with a port, such as example.org:443');
	},

	domain: function(text) {
		return isHostName(text) ? true : _('A host name such as www.example.org, without https:// and without a port');
	},

	host: function(text) {
		const bare = BRACKETS.exec(text);
		const parts = ipv4(bare ? bare[1] : text) || ipv6(bare ? bare[1] : text);

		if (parts ? !isZero(parts) : isHostName(text.replace(NOT_ASCII, 'x')))
			return true;

		return _('A name or an address, without a port: myrouter.example.org');
	},

	block: function(text) {
		const at = text.indexOf('/');
		const ip = at < 0 ? text : text.substring(0, at);
		const length = at < 0 ? '0' : text.substring(at + 1);
		const longest = ipv4(ip) ? 32 : (ipv6(ip) ? 128 : -1);

		return DIGITS.test(length) && +length <= longest ? true
			: _('A block of addresses, such as 192.168.1.0/24 or fd00::/8');
	},

	device: function(text) {
		return text.length < 16 && text !== '.' && text !== '..' && DEVICE.test(text) ? true
			: _('The name of a network device, such as wan or pppoe-wan');
	},

	algorithm: function(text) {
		return ALGORITHM.test(text) ? true : _('The name of an algorithm, such as bbr or cubic');
	},

	path: function(text) {
		return text.charAt(0) === '/' ? true : _('A path that begins with /');
	},

	mark: function(text) {
		return HEX_NUMBER.test(text) || (DIGITS.test(text) && +text <= 0xffffffff) ? true
			: _('A number such as 256 or 0x100');
	},

	date: function(text) {
		const found = DATE.exec(text);
		const day = found ? new Date(Date.UTC(+found[1], +found[2] - 1, +found[3])) : null;
		const exists = day && +found[1] >= 1970 && day.getUTCMonth() === +found[2] - 1 && day.getUTCDate() === +found[3];

		return exists ? true : _('A day of the calendar, such as 2027-01-31');
	},

	secret: function(text) {
		return keyOf(text) ? true : _('32 hex digits; the button generates new ones');
	},

	userName: function(text) {
		const bytes = unescape(encodeURIComponent(text)).length;

		return bytes <= 64 && text.trim() !== '' && !CONTROL.test(text) ? true : _('A name of at most 64 bytes');
	},

	dcId: function(text) {
		const digits = text.charAt(0) === '-' ? text.substring(1) : text;

		return DIGITS.test(digits) && +digits >= 1 && +digits <= 32767 ? true
			: _('A number such as 2, -2 for media, 203 or 10002');
	}
});
