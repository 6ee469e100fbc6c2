"""pages/: what people see in a browser: values in, HTML out.

`html` makes elements, in which all text is escaped whoever wrote it; `texts` has each
sentence in English and in Chinese; `style` the one style sheet, and the policy that
lets nothing else in; `charts` small pictures as SVG; `parts` what several pages show;
`front`, `task`, `run`, `delivery` and `hook` are the pages. Knows no request and reads
no store.

May import: contract, model, safetext, store, units.
"""
