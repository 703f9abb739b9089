// Forms on UCI sections: as much as the pages use, and nothing that LuCI would not know. A property that LuCI 23.05 to 25.12 have not,
// a wrong kind of option, or a value that does not survive its check is an error.
'use strict';
'require baseclass';
'require rpc';
'require uci';
'require ui';

const dom = window.standinDom;

const callAccess = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false } });

const SECTION_PROPERTIES = [
	'anonymous', 'addremove', 'nodescriptions', 'sortable', 'addbtntitle', 'delbtntitle', 'removebtntitle', 'modaltitle', 'sectiontitle',
	'filter', 'render', 'handleAdd', 'tabs', 'map', 'type', 'sid', 'title', 'description', 'children'
];
const OPTION_PROPERTIES = [
	'default', 'placeholder', 'rmempty', 'optional', 'validate', 'datatype', 'modalonly', 'editable', 'password', 'readonly', 'retain',
	'forcewrite', 'onchange', 'load', 'write', 'remove', 'cfgvalue', 'textvalue', 'renderWidget', 'width',
	'map', 'section', 'option', 'title', 'description', 'tabName', 'keylist', 'vallist', 'deps', 'values', 'widgets', 'frame'
];

function strict(object, known, what) {
	for (const name of Object.keys(object)) {
		if (!known.includes(name))
			throw new TypeError('form: ' + what + ' has no property ' + name);
	}
}

function equal(a, b) {
	return JSON.stringify(a) === JSON.stringify(b);
}

// One input, or what stands for it, with its value and its state.
class Widget {
	constructor(option, section_id) {
		this.option = option;
		this.section_id = section_id;
		this.checked = [];
	}

	// The validation of LuCI runs when a field is left, on each of its values.
	watch(input) {
		const check = () => this.check(input);

		input.addEventListener('blur', check);
		input.addEventListener('change', () => {
			check();
			this.changed();
		});
		this.checked.push(input);

		return input;
	}

	changed() {
		if (typeof(this.option.onchange) === 'function')
			this.option.onchange({}, this.section_id, this.getValue());

		this.option.map.checkDepends();
	}

	check(input) {
		const said = this.option.validate(this.section_id, input.value);
		const good = said === true;

		if (!good && typeof(said) !== 'string')
			throw new TypeError('form: validate answers true or a text');

		input.classList.toggle('cbi-input-invalid', !good);
		input.setAttribute('data-tooltip', good ? '' : said);
		return good ? null : said;
	}

	error() {
		return this.checked.map(input => this.check(input)).find(said => said !== null) || null;
	}

	triggerValidation() {
		return this.error() === null;
	}
}

class TextWidget extends Widget {
	render(value) {
		const option = this.option;

		this.input = this.watch(E('input', {
			'id': option.cbid(this.section_id), 'type': option.password ? 'password' : 'text', 'class': 'cbi-input-text',
			'value': value, 'placeholder': option.placeholder, 'disabled': option.map.readonly ? '' : null,
			'list': option.keylist.length ? option.cbid(this.section_id) + '.list' : null
		}));

		return E('div', {}, [ this.input, option.keylist.length ? E('datalist', { 'id': option.cbid(this.section_id) + '.list' },
			option.keylist.map(key => E('option', { 'value': key }, [ key ]))) : '' ]);
	}

	getValue() {
		return this.input.value;
	}

	setValue(value) {
		this.input.value = value;
	}
}

class FlagWidget extends Widget {
	render(value) {
		this.input = E('input', {
			'id': this.option.cbid(this.section_id), 'type': 'checkbox', 'checked': value === '1' ? '' : null,
			'disabled': this.option.map.readonly ? '' : null, 'change': () => this.changed()
		});

		return E('div', { 'class': 'cbi-checkbox' }, [ this.input ]);
	}

	getValue() {
		return this.input.checked ? '1' : '0';
	}
}

class SelectWidget extends Widget {
	render(value) {
		this.input = E('select', { 'id': this.option.cbid(this.section_id), 'class': 'cbi-input-select', 'change': () => this.changed() },
			this.option.keylist.map((key, at) => E('option', { 'value': key, 'selected': key === value ? '' : null }, [ this.option.vallist[at] ])));

		return E('div', {}, [ this.input ]);
	}

	getValue() {
		return this.input.value;
	}
}

class MultiWidget extends Widget {
	render(value) {
		this.boxes = this.option.keylist.map((key, at) => {
			const box = E('input', { 'type': 'checkbox', 'value': key, 'checked': L.toArray(value).includes(key) ? '' : null });

			return { box: box, node: E('label', {}, [ box, ' ', this.option.vallist[at] ]) };
		});

		return E('div', { 'id': this.option.cbid(this.section_id), 'class': 'cbi-dropdown' }, this.boxes.map(each => each.node));
	}

	getValue() {
		return this.boxes.filter(each => each.box.checked).map(each => each.box.value);
	}
}

class ListWidget extends Widget {
	render(value) {
		this.node = E('div', { 'id': this.option.cbid(this.section_id), 'class': 'cbi-dynlist' });
		this.setValue(L.toArray(value));

		return this.node;
	}

	setValue(list) {
		this.checked = [];
		dom.content(this.node, list.concat([ '' ]).map(text => {
			const input = this.watch(E('input', { 'type': 'text', 'class': 'cbi-input-text', 'value': text, 'placeholder': this.option.placeholder }));

			input.addEventListener('change', () => {
				if (input === this.checked[this.checked.length - 1] && input.value !== '' && !input.classList.contains('cbi-input-invalid'))
					this.setValue(this.getValue());
			});

			return E('div', { 'class': 'item' }, [ input ]);
		}));
	}

	getValue() {
		return this.checked.map(input => input.value).filter(text => text !== '');
	}
}

class Value {
	constructor(map, section, option, title, description) {
		Object.assign(this, { map: map, section: section, option: option, title: title || '', description: description || '' });
		this.keylist = [];
		this.vallist = [];
		this.deps = [];
		this.values = {};
		this.widgets = {};
		this.rmempty = true;
		this.default = null;
	}

	get Widget() {
		return TextWidget;
	}

	cbid(section_id) {
		return 'widget.cbid.' + this.map.config + '.' + section_id + '.' + this.option;
	}

	value(key, text) {
		this.keylist.push(String(key));
		this.vallist.push(text === undefined ? String(key) : text);
	}

	// A name and its value, or a table of them, which '!reverse' turns round.
	depends(name, value) {
		this.deps.push(typeof(name) === 'object' ? name : { [name]: value });
	}

	isActive(section_id) {
		return !this.deps.length || this.deps.some(wanted => {
			const all = Object.keys(wanted).filter(name => name !== '!reverse').every(name => {
				const other = this.section.children.find(each => each.option === name);

				return other && other.formvalue(section_id) === wanted[name];
			});

			return all !== Boolean(wanted['!reverse']);
		});
	}

	load(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	}

	cfgvalue(section_id) {
		return this.values[section_id] === undefined ? null : this.values[section_id];
	}

	textvalue(section_id) {
		const value = this.cfgvalue(section_id);

		return value === null ? this.default : '%h'.format(L.toArray(value).join(' '));
	}

	validate() {
		return true;
	}

	getUIElement(section_id) {
		return this.widgets[section_id] || null;
	}

	formvalue(section_id) {
		return this.widgets[section_id] ? this.widgets[section_id].getValue() : null;
	}

	renderWidget(section_id, option_index, cfgvalue) {
		this.widgets[section_id] = new this.Widget(this, section_id);

		return this.widgets[section_id].render(cfgvalue === null || cfgvalue === undefined ? this.default : cfgvalue);
	}

	render(section_id, in_table) {
		strict(this, OPTION_PROPERTIES, 'option ' + this.option);

		const widget = this.renderWidget(section_id, 0, this.cfgvalue(section_id));

		if (in_table)
			return E('td', { 'class': 'td cbi-value-field', 'data-title': this.title, 'data-name': this.option }, [ widget ]);

		return this.frame = E('div', { 'class': 'cbi-value', 'data-name': this.option }, [
			E('label', { 'class': 'cbi-value-title', 'for': this.cbid(section_id) }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, [ widget, E('div', { 'class': 'cbi-value-description' }, [ this.description ]) ])
		]);
	}

	write(section_id, value) {
		uci.set(this.map.config, section_id, this.option, value);
	}

	remove(section_id) {
		uci.unset(this.map.config, section_id, this.option);
	}

	parse(section_id) {
		const widget = this.widgets[section_id];

		if (!widget)
			return;

		if (!this.isActive(section_id)) {
			this.remove(section_id);
			return;
		}

		const wrong = widget.error();

		if (wrong)
			throw new TypeError('Option "' + this.title + '" contains an invalid input value. ' + wrong);

		const value = widget.getValue();
		const empty = value === null || value === '' || (Array.isArray(value) && !value.length);

		if (empty && !this.rmempty && !this.optional)
			throw new TypeError('Option "' + this.title + '" must not be empty.');

		if (empty)
			this.remove(section_id);
		else if (this.forcewrite || !equal(value, this.cfgvalue(section_id)))
			this.write(section_id, value);
	}
}

class Flag extends Value {
	get Widget() {
		return FlagWidget;
	}

	parse(section_id) {
		const value = this.formvalue(section_id);

		if (value === null)
			return;

		if (value === (this.default || '0') && this.rmempty)
			this.remove(section_id);
		else if (value !== this.cfgvalue(section_id))
			this.write(section_id, value);
	}
}

class ListValue extends Value {
	get Widget() {
		return SelectWidget;
	}
}

class MultiValue extends Value {
	get Widget() {
		return MultiWidget;
	}
}

class DynamicList extends Value {
	get Widget() {
		return ListWidget;
	}
}

class DummyValue extends Value {
	renderWidget(section_id, option_index, cfgvalue) {
		return E('div', {}, [ cfgvalue === null ? '' : cfgvalue ]);
	}

	parse() { }
}

const KINDS = [ Value, Flag, ListValue, MultiValue, DynamicList, DummyValue ];

class Section {
	constructor(map, type, title, description) {
		Object.assign(this, { map: map, type: type, title: title || '', description: description || '', children: [], tabs: [] });
	}

	option(Kind, name, title, description) {
		if (!KINDS.includes(Kind))
			throw new TypeError('form: no such kind of option');

		if (this.tabs.length)
			throw new TypeError('form: option() on a section with tabs');

		const made = new Kind(this.map, this, name, title, description);

		this.children.push(made);
		return made;
	}

	tab(name, title) {
		this.tabs.push({ name: name, title: title });
	}

	taboption(tab, Kind, name, title, description) {
		const tabs = this.tabs;

		if (!tabs.some(each => each.name === tab))
			throw new TypeError('form: no tab ' + tab);

		this.tabs = [];
		const made = this.option(Kind, name, title, description);
		this.tabs = tabs;
		made.tabName = tab;

		return made;
	}

	cfgsections() {
		return uci.sections(this.map.config, this.type).map(section => section['.name']);
	}

	load() {
		return Promise.all(this.cfgsections().map(id => Promise.all(this.children.map(option => {
			return Promise.resolve(option.load(id)).then(value => { option.values[id] = value === undefined ? null : value; });
		}))));
	}

	parse() {
		this.cfgsections().forEach(id => this.children.forEach(option => option.parse(id)));
	}

	// The options of one section, in their tabs.
	renderOptions(id) {
		if (!this.tabs.length)
			return E('div', { 'class': 'cbi-section-node' }, this.children.map(option => option.render(id)));

		const panes = this.tabs.map(tab => E('div', { 'data-tab': tab.name, 'style': 'display: none' },
			this.children.filter(option => option.tabName === tab.name).map(option => option.render(id))));
		const show = at => panes.forEach((pane, other) => { pane.style.display = other === at ? '' : 'none'; });

		show(0);

		return E('div', { 'class': 'cbi-section-node' }, [
			E('ul', { 'class': 'cbi-tabmenu' }, this.tabs.map((tab, at) => E('li', { 'data-tab': tab.name }, [
				E('a', { 'href': '#', 'click': ev => { ev.preventDefault(); show(at); } }, [ tab.title ])
			])))
		].concat(panes));
	}
}

class TypedSection extends Section {
	render() {
		strict(this, SECTION_PROPERTIES, 'section ' + this.type);

		return Promise.resolve(E('div', { 'class': 'cbi-section' }, this.cfgsections().map(id => this.renderOptions(id))));
	}
}

class NamedSection extends Section {
	constructor(map, sid, type) {
		super(map, type);
		this.sid = sid;
	}

	cfgsections() {
		return [ this.sid ];
	}

	render() {
		return Promise.resolve(E('div', { 'class': 'cbi-section' }, [ this.renderOptions(this.sid) ]));
	}
}

class GridSection extends Section {
	handleAdd() {
		const id = uci.add(this.map.config, this.type);

		return this.openModal(id, true);
	}

	// The options again, in a dialog: those that are only shown in the table stay out.
	openModal(id, isNew) {
		const map = new Map(this.map.config);
		const section = map.section(NamedSection, id, this.type);

		this.children.filter(option => option.modalonly !== false).forEach(option => {
			const copy = section.option(option.constructor, option.option, option.title, option.description);

			Object.keys(option).filter(name => ![ 'map', 'section', 'values', 'widgets', 'frame' ].includes(name)).forEach(name => { copy[name] = option[name]; });
		});

		map.readonly = this.map.readonly;

		return map.render().then(node => {
			ui.showModal(this.modaltitle ? this.modaltitle(id) : '', [ node, E('div', { 'class': 'button-row' }, [
				E('button', { 'class': 'btn cbi-button', 'click': () => {
					if (isNew)
						uci.remove(this.map.config, id);

					ui.hideModal();
				} }, [ 'Dismiss' ]), ' ',
				E('button', { 'class': 'btn cbi-button cbi-button-positive important', 'click': () => {
					return map.save(true).then(() => this.map.reset()).then(() => ui.hideModal()).catch(() => {});
				} }, [ 'Save' ])
			]) ], 'cbi-modal');
		});
	}

	// LuCI puts the text of a cell in as markup.
	renderCell(option, id) {
		if (option.editable)
			return option.render(id, true);

		const value = option.textvalue(id);

		return E('td', { 'class': 'td cbi-value-field', 'data-title': option.title, 'data-name': option.option },
			value === null ? E('em', {}, [ 'none' ]) : value);
	}

	render() {
		strict(this, SECTION_PROPERTIES, 'section ' + this.type);

		const shown = this.children.filter(option => !option.modalonly);
		const button = (kind, text, click) => E('button', {
			'class': 'btn cbi-button cbi-button-' + kind, 'disabled': this.map.readonly ? '' : null,
			'click': ev => { ev.preventDefault(); click(); }
		}, [ text ]);

		return Promise.resolve(E('div', { 'class': 'cbi-section cbi-tblsection' }, [
			E('h3', {}, [ this.title ]),
			E('div', { 'class': 'cbi-section-descr' }, [ this.description ]),
			E('table', { 'class': 'table cbi-section-table' }, [
				E('tr', { 'class': 'tr table-titles' }, shown.map(option => E('th', { 'class': 'th' }, [ option.title ])))
			].concat(this.cfgsections().map(id => E('tr', { 'class': 'tr cbi-section-table-row', 'data-sid': id },
				shown.map(option => this.renderCell(option, id)).concat([ E('td', { 'class': 'td cbi-section-actions' }, [
					button('edit', 'Edit', () => this.openModal(id, false)), ' ',
					button('remove', this.delbtntitle ? this.delbtntitle(id) : 'Delete', () => {
						uci.remove(this.map.config, id);
						return this.map.reset();
					})
				]) ]))))),
			E('div', { 'class': 'cbi-section-create' }, [ button('add', this.addbtntitle || 'Add', () => this.handleAdd()) ])
		]));
	}

	parse() {
		this.cfgsections().forEach(id => this.children.filter(option => option.editable).forEach(option => option.parse(id)));
	}
}

class Map {
	constructor(config, title, description) {
		Object.assign(this, { config: config, title: title, description: description, data: uci, children: [] });
	}

	section(Kind, ...args) {
		if (![ TypedSection, NamedSection, GridSection ].includes(Kind))
			throw new TypeError('form: no such kind of section');

		const made = new Kind(this, ...args);

		this.children.push(made);
		return made;
	}

	lookupOption(name, section_id) {
		for (const section of this.children) {
			const option = section.children.find(each => each.option === name);

			if (option)
				return [ option, section_id ];
		}

		return null;
	}

	load() {
		return Promise.all([
			callAccess('uci', this.config, 'write').then(may => { this.readonly = this.readonly || may === false; }), uci.load(this.config)
		]).then(() => Promise.all(this.children.map(section => section.load())));
	}

	render() {
		return this.load().then(() => Promise.all(this.children.map(section => section.render()))).then(nodes => {
			this.root = this.root || E('div', { 'class': 'cbi-map' });
			dom.content(this.root, nodes);
			dom.bindClassInstance(this.root, this);
			this.checkDepends();

			return this.root;
		});
	}

	reset() {
		return this.render();
	}

	checkDepends() {
		this.children.forEach(section => section.cfgsections().forEach(id => section.children.forEach(option => {
			if (option.frame && option.deps.length)
				option.frame.style.display = option.isActive(id) ? '' : 'none';
		})));
	}

	save(local) {
		return Promise.resolve().then(() => this.children.forEach(section => section.parse())).then(() => local ? null : uci.save()).then(() => {
			return local ? null : this.reset();
		}).catch(error => {
			if (!local)
				ui.showModal('Save error', [ E('p', {}, [ 'An error occurred while saving the form:' ]), E('p', {}, [ error.message ]),
					E('button', { 'class': 'btn', 'click': () => ui.hideModal() }, [ 'Dismiss' ]) ]);

			throw error;
		});
	}
}

return baseclass.extend({
	Map: Map, TypedSection: TypedSection, GridSection: GridSection, NamedSection: NamedSection,
	Value: Value, Flag: Flag, ListValue: ListValue, MultiValue: MultiValue, DynamicList: DynamicList, DummyValue: DummyValue
});
