'use strict';
'require baseclass';
'require mtrelay.history as history';
'require mtrelay.words as words';

/*
 * The throughput of the last five minutes: two filled lines in an SVG that stretches with the page. The words around it are
 * ordinary text, so that they neither stretch nor depend on the theme.
 */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 120;

/* The smallest full scale is 8 KiB/s, so that an idle relay does not look busy. */
const SMALLEST_TOP = 8192;

function shape(name, attributes) {
	const node = document.createElementNS(SVG, name);

	Object.keys(attributes).forEach(function(key) {
		node.setAttribute(key, attributes[key]);
	});

	return node;
}

/* The next power of two, so that the scale does not jump with every sample. */
function topOf(rates) {
	const most = rates.reduce(function(top, rate) {
		return rate ? Math.max(top, rate.up, rate.down) : top;
	}, 0);
	let top = SMALLEST_TOP;

	while (top < most)
		top *= 2;

	return top;
}

/* The samples in runs that no gap interrupts. */
function runsOf(rates) {
	const runs = [ [] ];

	rates.forEach(function(rate) {
		if (rate)
			runs[runs.length - 1].push(rate);
		else
			runs.push([]);
	});

	return runs.filter(function(run) { return run.length > 0; });
}

function pathOf(run, name, top, closed) {
	const points = run.map(function(rate) {
		const x = WIDTH - rate.age / history.WINDOW_MS * WIDTH;
		const y = HEIGHT - Math.max(0, rate[name]) / top * (HEIGHT - 4);

		return x.toFixed(1) + ',' + y.toFixed(1);
	});
	const line = 'M' + points.join('L');

	return closed
		? line + 'L' + points[points.length - 1].split(',')[0] + ',' + HEIGHT + 'L' + points[0].split(',')[0] + ',' + HEIGHT + 'Z'
		: line;
}

return baseclass.extend({
	/* A rate as text, with its unit. */
	rate: function(bytesPerSecond) {
		return words.technical('%1024.1mB/s'.format(Math.max(0, Math.round(bytesPerSecond || 0))));
	},

	/* Draws the chart into the node, in place of what it held. */
	draw: function(node, now) {
		const rates = history.rates(now);
		const top = topOf(rates);
		const last = rates[rates.length - 1] || { up: 0, down: 0 };
		const svg = shape('svg', {
			'viewBox': '0 0 ' + WIDTH + ' ' + HEIGHT,
			'preserveAspectRatio': 'none',
			'role': 'img',
			'aria-label': _('Throughput of the last five minutes: now %s down, %s up').format(this.rate(last.down), this.rate(last.up))
		});

		[ 0.25, 0.5, 0.75 ].forEach(function(part) {
			svg.appendChild(shape('line', {
				'class': 'mtrelay-grid', 'x1': 0, 'x2': WIDTH, 'y1': HEIGHT * part, 'y2': HEIGHT * part
			}));
		});

		[ 'down', 'up' ].forEach(function(name) {
			runsOf(rates).forEach(function(run) {
				svg.appendChild(shape('path', { 'class': 'mtrelay-area mtrelay-' + name, 'd': pathOf(run, name, top, true) }));
				svg.appendChild(shape('path', { 'class': 'mtrelay-line mtrelay-' + name, 'd': pathOf(run, name, top, false) }));
			});
		});

		while (node.firstChild)
			node.removeChild(node.firstChild);

		node.appendChild(E('div', { 'class': 'mtrelay-plot', 'dir': 'ltr' }, [
			svg,
			E('span', { 'class': 'mtrelay-top' }, [ this.rate(top) ])
		]));
		node.appendChild(E('div', { 'class': 'mtrelay-axis', 'dir': 'ltr' }, [
			E('bdi', {}, [ _('5 minutes ago') ]), E('bdi', {}, [ _('now') ])
		]));
		node.appendChild(E('div', { 'class': 'mtrelay-legend' }, [
			E('span', {}, [ E('i', { 'class': 'mtrelay-key mtrelay-down' }), _('Down'), ' ', E('b', {}, [ this.rate(last.down) ]) ]),
			E('span', {}, [ E('i', { 'class': 'mtrelay-key mtrelay-up' }), _('Up'), ' ', E('b', {}, [ this.rate(last.up) ]) ])
		]));
	}
});
