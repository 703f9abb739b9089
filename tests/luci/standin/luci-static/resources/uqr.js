// QR codes (ISO/IEC 18004) with the interface of LuCI's library: bytes, level L, versions 1 to 10, always mask 0. That is enough for
// any link of the tests, and a reader that knows nothing of us must be able to scan it.
'use strict';
'require baseclass';

// Per version: data codewords, error correction codewords of a block, blocks, and where the alignment patterns are.
const VERSIONS = [
	[ 19, 7, 1, [] ], [ 34, 10, 1, [ 6, 18 ] ], [ 55, 15, 1, [ 6, 22 ] ], [ 80, 20, 1, [ 6, 26 ] ], [ 108, 26, 1, [ 6, 30 ] ],
	[ 136, 18, 2, [ 6, 34 ] ], [ 156, 20, 2, [ 6, 22, 38 ] ], [ 194, 24, 2, [ 6, 24, 42 ] ], [ 232, 30, 2, [ 6, 26, 46 ] ],
	[ 274, 18, 4, [ 6, 28, 50 ] ]
];

const FORMAT_L_MASK_0 = 0b01000;

const EXP = [], LOG = [];

for (let i = 0, x = 1; i < 255; i++) {
	EXP[i] = x;
	LOG[x] = i;
	x = x & 0x80 ? (x << 1) ^ 0x11d : x << 1;
}

const multiply = (a, b) => a && b ? EXP[(LOG[a] + LOG[b]) % 255] : 0;

// The remainder of a block, divided by (x - 2^0)(x - 2^1)…
function correction(block, count) {
	let divisor = [ 1 ];

	for (let i = 0; i < count; i++) {
		const next = divisor.concat([ 0 ]);

		divisor.forEach((value, at) => { next[at + 1] ^= multiply(value, EXP[i]); });
		divisor = next;
	}

	const rest = block.concat(Array(count).fill(0));

	block.forEach((_, at) => {
		const factor = rest[at];

		divisor.forEach((value, offset) => { rest[at + offset] ^= multiply(value, factor); });
	});

	return rest.slice(block.length);
}

// Appends what is left of value when it is divided by the generator, both as bits.
function withRemainder(value, generator, bits) {
	let rest = value << bits;

	for (let at = 31; at >= bits; at--) {
		if (rest & (1 << at))
			rest ^= generator << (at - bits);
	}

	return (value << bits) | rest;
}

function codewords(bytes, version) {
	const [ total, perBlock, blocks ] = VERSIONS[version - 1];
	const bits = [];
	const push = (value, count) => { for (let at = count - 1; at >= 0; at--) bits.push((value >> at) & 1); };

	push(4, 4);
	push(bytes.length, version < 10 ? 8 : 16);
	bytes.forEach(byte => push(byte, 8));
	push(0, Math.min(4, total * 8 - bits.length));
	push(0, (8 - bits.length % 8) % 8);

	for (let pad = 0xec; bits.length < total * 8; pad ^= 0xec ^ 0x11)
		push(pad, 8);

	const data = [];

	for (let at = 0; at < bits.length; at += 8)
		data.push(parseInt(bits.slice(at, at + 8).join(''), 2));

	const short = Math.floor(total / blocks), longer = total % blocks;
	const parts = [];

	for (let block = 0, at = 0; block < blocks; block++) {
		const length = short + (block >= blocks - longer ? 1 : 0);

		parts.push(data.slice(at, at + length));
		at += length;
	}

	const checks = parts.map(part => correction(part, perBlock));
	const mixed = [];

	for (let at = 0; at <= short; at++)
		parts.forEach(part => { if (at < part.length) mixed.push(part[at]); });

	for (let at = 0; at < perBlock; at++)
		checks.forEach(check => mixed.push(check[at]));

	return mixed;
}

function draw(text) {
	const bytes = Array.from(new TextEncoder().encode(text));
	const version = VERSIONS.findIndex(([ total ], at) => bytes.length + (at < 9 ? 2 : 3) <= total) + 1;

	if (!version)
		throw new RangeError('uqr: too long');

	const size = 17 + 4 * version;
	const grid = Array.from({ length: size }, () => Array(size).fill(null));
	const set = (x, y, dark) => { if (x >= 0 && y >= 0 && x < size && y < size) grid[y][x] = dark ? 1 : 0; };

	for (let at = 0; at < size; at++) {
		set(6, at, at % 2 === 0);
		set(at, 6, at % 2 === 0);
	}

	for (const [ cx, cy ] of [ [ 3, 3 ], [ size - 4, 3 ], [ 3, size - 4 ] ]) {
		for (let dy = -4; dy <= 4; dy++) {
			for (let dx = -4; dx <= 4; dx++) {
				const ring = Math.max(Math.abs(dx), Math.abs(dy));

				set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
			}
		}
	}

	const places = VERSIONS[version - 1][3], last = size - 7;

	for (const cx of places) {
		for (const cy of places) {
			if ((cx === 6 && cy === 6) || (cx === 6 && cy === last) || (cx === last && cy === 6))
				continue;

			for (let dy = -2; dy <= 2; dy++) {
				for (let dx = -2; dx <= 2; dx++)
					set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
			}
		}
	}

	const format = withRemainder(FORMAT_L_MASK_0, 0x537, 10) ^ 0x5412;

	for (let at = 0; at < 15; at++) {
		const dark = (format >> at) & 1;

		set(8, at < 6 ? at : (at < 8 ? at + 1 : size - 15 + at), dark);
		set(at < 8 ? size - 1 - at : (at === 8 ? 7 : 14 - at), 8, dark);
	}

	set(8, size - 8, 1);

	if (version >= 7) {
		const info = withRemainder(version, 0x1f25, 12);

		for (let at = 0; at < 18; at++) {
			set(Math.floor(at / 3), size - 11 + at % 3, (info >> at) & 1);
			set(size - 11 + at % 3, Math.floor(at / 3), (info >> at) & 1);
		}
	}

	const words = codewords(bytes, version);
	let bit = 0;

	for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
		if (right === 6)
			right--;

		for (let step = 0; step < size; step++) {
			const y = up ? size - 1 - step : step;

			for (const x of [ right, right - 1 ]) {
				if (grid[y][x] !== null)
					continue;

				const dark = bit < words.length * 8 ? (words[bit >> 3] >> (7 - bit % 8)) & 1 : 0;

				grid[y][x] = dark ^ ((x + y) % 2 === 0 ? 1 : 0);
				bit++;
			}
		}
	}

	return grid;
}

return baseclass.extend({
	renderSVG: function(text, options) {
		const grid = draw(text), border = options.border, unit = options.pixelSize;
		const size = (grid.length + 2 * border) * unit;
		const path = [];

		grid.forEach((row, y) => row.forEach((dark, x) => {
			if (dark)
				path.push('M' + (x + border) * unit + ',' + (y + border) * unit + 'h' + unit + 'v' + unit + 'h-' + unit + 'z');
		}));

		return '<svg xmlns="http://www.w3.org/2000/svg" width="' + size + '" height="' + size + '">'
			+ '<rect fill="white" width="' + size + '" height="' + size + '"/><path fill="black" d="' + path.join('') + '"/></svg>';
	}
});
