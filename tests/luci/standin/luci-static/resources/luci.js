// A stand-in for LuCI's runtime, for tests where no checkout of LuCI is at hand. It was written from LuCI's documented behaviour and
// does as little as the page needs, but is stricter: what LuCI would reject or misread is an error here, and every error of a page is
// kept in `window.standinErrors`, which the tests look at.
//
// This file: classes and `require`, nodes, `format`, translations, polls, and the view with its buttons.
'use strict';

window.standinErrors = [];
window.addEventListener('error', ev => window.standinErrors.push(String(ev.message)));
window.addEventListener('unhandledrejection', ev => window.standinErrors.push(String(ev.reason)));

// The translations' keys are the texts themselves here; LuCI has hashes.
window.sfh = text => text;

window._ = text => {
	if (typeof(text) !== 'string' || text.trim() !== text || text === '')
		throw new TypeError('_() takes a text without spaces around it');

	return (window.TR || {})[text] || text;
};

const UNITS = [ '', 'K', 'M', 'G', 'T', 'P' ];

function metric(value, base, digits) {
	let at = 0;

	for (value = +value || 0; value > base && at < UNITS.length - 1; at++)
		value /= base;

	return at ? value.toFixed(digits) + ' ' + UNITS[at] + (base === 1024 ? 'i' : '') : value + ' ';
}

function timespan(seconds) {
	const parts = [ [ 'd', 86400 ], [ 'h', 3600 ], [ 'm', 60 ], [ 's', 1 ] ].map(([ unit, size ]) => {
		const count = Math.floor(seconds / size);

		seconds -= count * size;
		return count + unit;
	});

	return parts[0] === '0d' ? parts.slice(1).join(' ') : parts.join(' ');
}

// As much of LuCI's String.format as its pages use: %s %d %h %t and %1024.1m. A placeholder without its argument is an error.
String.prototype.format = function(...args) {
	return this.replace(/%(?:(\d+)(?:\.(\d+))?)?([a-zA-Z%])/g, (all, base, digits, kind) => {
		if (kind === '%')
			return '%';

		if (!args.length)
			throw new TypeError('format: nothing for ' + all + ' in "' + this + '"');

		const value = args.shift();

		switch (kind) {
		case 's':
			return String(value);
		case 'd':
			if (isNaN(value))
				throw new TypeError('format: %d takes a number in "' + this + '"');

			return String(Math.floor(+value || 0));
		case 'h':
			return String(value).replace(/[&<>"']/g, c => '&#' + c.charCodeAt(0) + ';');
		case 't':
			return timespan(+value || 0);
		case 'm':
			return metric(value, +base || 1000, +digits || 0);
		default:
			throw new TypeError('format: ' + all);
		}
	});
};

const instances = new WeakMap();

const dom = {
	elem: value => value instanceof Node,

	// As in LuCI: an array gives text nodes, and a bare string is markup. The tests of injection rely on that trap.
	append(node, children) {
		if (Array.isArray(children)) {
			for (const child of children) {
				if (dom.elem(child))
					node.appendChild(child);
				else if (child !== null && child !== undefined)
					node.appendChild(document.createTextNode(String(child)));
			}
		}
		else if (typeof(children) === 'function') {
			dom.append(node, children(node));
		}
		else if (dom.elem(children)) {
			node.appendChild(children);
		}
		else if (children !== null && children !== undefined) {
			node.innerHTML = String(children);
		}

		return node.lastChild;
	},

	content(node, children) {
		node.textContent = '';
		return dom.append(node, children);
	},

	attr(node, attributes) {
		for (const [ name, value ] of Object.entries(attributes)) {
			if (value === null || value === undefined)
				continue;

			if (typeof(value) === 'function')
				node.addEventListener(name, value);
			else if (typeof(value) === 'object')
				throw new TypeError('E(): attribute ' + name + ' is an object');
			else if (value === true || value === false)
				throw new TypeError('E(): attribute ' + name + ' is a boolean; LuCI writes it out as a text');
			else
				node.setAttribute(name, String(value));
		}
	},

	bindClassInstance(node, instance) {
		instances.set(node, instance);
		return node;
	},

	findClassInstance(node) {
		for (; node; node = node.parentNode) {
			if (instances.has(node))
				return instances.get(node);
		}

		return null;
	}
};

window.E = function(what, attributes, children) {
	if (dom.elem(what))
		return what;

	if (Array.isArray(what)) {
		const fragment = document.createDocumentFragment();

		dom.append(fragment, what);
		return fragment;
	}

	if (typeof(what) !== 'string' || !/^[a-z][a-z0-9]*$/.test(what))
		throw new TypeError('E(): ' + what + ' is no element');

	if (arguments.length === 2 && (Array.isArray(attributes) || typeof(attributes) !== 'object' || dom.elem(attributes)))
		[ attributes, children ] = [ {}, attributes ];

	const node = document.createElement(what);

	dom.attr(node, attributes || {});
	dom.append(node, children);

	return node;
};

class Base {
	constructor(...args) {
		if (typeof(this.__init__) === 'function')
			this.__init__(...args);
	}

	static extend(properties) {
		const Sub = class extends this {};

		for (const [ name, value ] of Object.entries(properties))
			Object.defineProperty(Sub.prototype, name, { value: value, writable: true, configurable: true, enumerable: true });

		return Sub;
	}

	static instantiate(args) {
		return new this(...args);
	}
}

const poll = {
	queue: [],

	add(fn, seconds) {
		if (typeof(fn) !== 'function')
			throw new TypeError('poll.add() takes a function');

		if (poll.queue.some(entry => entry.fn === fn))
			return false;

		const entry = { fn: fn };

		// LuCI counts whole seconds; tests may not have them.
		entry.timer = window.setInterval(() => {
			Promise.resolve(fn()).catch(error => window.standinErrors.push(String(error)));
		}, 1000 * (seconds || L.env.pollinterval));
		poll.queue.push(entry);

		return true;
	},

	active() {
		return poll.queue.length > 0;
	},

	remove(fn) {
		poll.queue = poll.queue.filter(entry => entry.fn !== fn || window.clearInterval(entry.timer));
	}
};

class View extends Base {
	__init__() {
		const place = document.getElementById('view');

		Promise.resolve(this.load()).then(data => this.render(data)).then(nodes => {
			dom.content(place, nodes);
			dom.append(place, [ this.addFooter() ]);
		}).catch(error => {
			dom.content(place, E('div', { 'class': 'alert-message error' }, [ String(error) ]));
			window.standinErrors.push(String(error));
		});
	}

	load() { }

	render() {
		throw new Error('a view renders');
	}

	maps() {
		return Array.from(document.querySelectorAll('#view .cbi-map')).map(node => dom.findClassInstance(node));
	}

	handleSave() {
		return this.maps().reduce((before, map) => before.then(() => map.save()), Promise.resolve());
	}

	handleSaveApply() {
		return this.handleSave().then(() => L.require('ui')).then(ui => ui.changes.apply());
	}

	handleReset() {
		return this.maps().reduce((before, map) => before.then(() => map.reset()), Promise.resolve());
	}

	addFooter() {
		const readonly = !L.hasViewPermission();
		const button = (kind, text, handler) => handler ? E('button', {
			'class': 'btn cbi-button cbi-button-' + kind,
			'disabled': readonly ? '' : null,
			'click': ev => {
				const pressed = ev.currentTarget;

				ev.preventDefault();
				pressed.disabled = true;
				handler.call(this, ev).catch(() => {}).finally(() => { pressed.disabled = readonly; });
			}
		}, [ text ]) : '';

		return this.handleSave || this.handleSaveApply || this.handleReset ? E('div', { 'class': 'cbi-page-actions' }, [
			button('apply', 'Save & Apply', this.handleSaveApply), ' ',
			button('save', 'Save', this.handleSave), ' ',
			button('reset', 'Reset', this.handleReset)
		]) : '';
	}
}

class LuCI {
	constructor(env) {
		this.env = env;
		this.loaded = {
			baseclass: Promise.resolve(Base),
			view: Promise.resolve(View),
			dom: Promise.resolve(dom),
			poll: Promise.resolve(poll)
		};
	}

	resource(path) {
		return this.env.resource + '/' + path;
	}

	url(...parts) {
		return this.env.scriptname + '/' + parts.join('/');
	}

	bind(fn, self, ...args) {
		return fn.bind(self, ...args);
	}

	toArray(value) {
		if (value === null || value === undefined)
			return [];

		return Array.isArray(value) ? value : String(value).trim().split(/\s+/).filter(word => word !== '');
	}

	isObject(value) {
		return value !== null && typeof(value) === 'object';
	}

	resolveDefault(value, fallback) {
		return Promise.resolve(value).catch(() => fallback);
	}

	hasViewPermission() {
		return this.env.nodespec.satisfied ? !this.env.nodespec.readonly : null;
	}

	// A class file begins with its directives: 'use strict' and 'require name as alias'.
	require(name) {
		if (!/^[a-z0-9_]+(\.[a-z0-9_]+)*$/i.test(name))
			throw new TypeError('require: ' + name);

		this.loaded[name] = this.loaded[name] || fetch(this.resource(name.replace(/\./g, '/') + '.js')).then(answer => {
			if (!answer.ok)
				throw new Error('HTTP error ' + answer.status + ' while loading class file "' + name + '"');

			return answer.text();
		}).then(source => {
			const aliases = [], wanted = [];
			const directive = /\s*(?:\/\/[^\n]*\n|\/\*[^]*?\*\/|(['"])(?:use strict|require[ \t]+(\S+)(?:[ \t]+as[ \t]+([a-zA-Z_]\w*))?)\1;?)/y;

			for (let match; (match = directive.exec(source)) !== null; ) {
				if (match[2]) {
					wanted.push(this.require(match[2]));
					aliases.push(match[3] || match[2].replace(/[^a-zA-Z0-9_]/g, '_'));
				}
			}

			return Promise.all(wanted).then(dependencies => {
				const Made = Function('window', 'document', 'L', ...aliases, source + '\n//# sourceURL=' + name + '.js')(
					window, document, this, ...dependencies);

				if (typeof(Made) !== 'function' || !(Made.prototype instanceof Base))
					throw new TypeError('"' + name + '" factory yields invalid constructor');

				return new Made();
			});
		});

		return this.loaded[name];
	}
}

window.LuCI = LuCI;
window.standinBase = Base;
window.standinDom = dom;
