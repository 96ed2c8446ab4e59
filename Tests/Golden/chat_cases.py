"""The inputs of make_chat_golden.py."""

WEATHER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Weather in Paris? <|im_end|> é ☂ 😀  "},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "days": 2}}}]},
    {"role": "tool", "name": "weather", "tool_call_id": "a1", "content": "{\"sky\": \"rain\"}"},
    {"role": "assistant", "content": "Rain.\n"},
]

TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "Get the \"weather\" — <now> & 'later'",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "Città\n"},
            "days": {"type": "integer", "enum": [1, 2, 3.5], "default": None}},
            "required": ["city"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {}}},
]

EXTRA = {
    "n": 7, "neg": -7, "x": 2.5, "big": 123456789012, "flag": True, "nothing": None, "empty": "", "word": "Hello World",
    "uni": "héßΣ ☂😀", "items": [3, 1, 2], "nested": {"a": {"b": [10, 20, {"c": "deep"}]}, "items": 1},
    "people": [{"name": "bob", "age": 30}, {"name": "Ann", "age": 25}, {"name": "cid", "age": 30}],
    "lines": "one\ntwo\n\nthree", "quote": "it's", "both": "it's \"x\"", "ctl": "a\tb\x01\u200b\u00a0é",
    "enable_thinking": False,
}

CONVERSATIONS = {
    "one": [{"role": "user", "content": "Hi"}],
    "system": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
    "turns": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Bye."},
    ],
    "system and turns": [
        {"role": "system", "content": "Be kind.\n"}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Why?"},
    ],
    "unicode": [{"role": "user", "content": "¿Qué? 你好 😀 e\u0301 \u200b"}, {"role": "assistant", "content": "Ça va"}],
    "spaces": [{"role": "user", "content": "  \n padded \t\n"}, {"role": "assistant", "content": "\n out \n\n"}],
    "special text": [
        {"role": "user", "content": "<|im_end|>\n<|im_start|>system\n</s>[INST]<|eot_id|>"},
        {"role": "assistant", "content": "<|im_end|><end_of_turn><|end|>"},
    ],
    "empty": [{"role": "user", "content": ""}],
    "wrong order": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "assistant first": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
    "strange role": [{"role": "narrator", "content": "Once"}, {"role": "user", "content": "b"}],
    "none content": WEATHER[1:],
    "tool call": WEATHER,
    "two tool results": [
        {"role": "user", "content": "both"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "abcdefgh1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}},
            {"id": "abcdefgh2", "type": "function", "function": {"name": "noop", "arguments": {}}}]},
        {"role": "tool", "name": "weather", "tool_call_id": "abcdefgh1", "content": "sun"},
        {"role": "tool", "name": "noop", "tool_call_id": "abcdefgh2", "content": "done"},
        {"role": "user", "content": "thanks"},
    ],
    "thinking": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "<think>\nadd\n</think>\n\n4"},
        {"role": "user", "content": "3+3?"},
        {"role": "assistant", "content": "6", "reasoning_content": "\nadd again\n"},
    ],
}

EXPRESSIONS = r'''
1
1.0
-3
1e3
1.5e-7
1e16
123456789.125
1e15
0.0001
0.00001
1_000
0x1F
0b101
true
False
none
"a" 'b'
'it''s'
"\n\t\\\"\x41\u00e9\101\q"
1 + 2 * 3
(1 + 2) * 3
2 ** 3 ** 2
-2 ** 2
7 // 2
neg // 2
neg % 3
n % -3
neg % 3.5
x // 1
7 / 2
6 / 3
n - 1 - 1
1 ~ 2 ~ 'a'
1 + 2 ~ 3
'a' * 3
[1] * 2 + [3]
'a' + 'b'
(1, 2) + (3,)
n > 3 and n < 10
1 < n < 8 < 9
1 < n > 8
not n == 7
not true or true
n == 7.0
'a' < 'b'
'a' in 'cat'
'x' not in 'cat'
3 in items
'a' in nested
missing in items
'a' in missing
items == [3, 1, 2]
nothing == none
missing == other_missing
missing
missing is defined
nothing is defined
nothing is none
missing is none
word is string
nested is mapping
items is iterable
items is sequence
word is iterable
nested is sequence
missing is iterable
n is iterable
n is number
flag is number
flag is boolean
flag is integer
n is integer
x is float
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is not eq 7
n is gt 3
n is ge(7)
n is lt 3
flag is true
flag is false
n is true
n is sameas 7
word is lower
'abc' is lower
'ABC' is upper
3 is in items
word is callable
range is callable
word.upper is defined
word.foo is defined
messages[0]['role'] is defined and messages[0].nope is not defined
word[0]
word[-1]
word[99]
word[1:4]
word[::-1]
word[::2]
word[-3:]
word[:-3]
word[8:2:-2]
word[5:100]
uni[1]
uni[::-1]
uni | length
items[::-1]
items[1:]
items[-2:]
items[:1]
items[10:]
items[0:3:2]
(1, 2, 3)[1:]
items[5]
items.0
nested.a.b[2].c
nested['a']['b'][0]
nested.a.missing
nested.missing.deeper
missing.attr
missing['x']
nothing.x
nested.items() | list
nested.items is defined
nested['items']
nested.keys() | list
nested.values() | list
nested.get('a')
nested.get('zz')
nested.get('zz', 5)
'yes' if n else 'no'
'yes' if missing else 'no'
'yes' if missing
'a' if false else 'b' if false else 'c'
missing or 'fallback'
n and word
empty or nothing
[1, 'two', 3.0, none, true, [4], (5,), {'k': 'v'}]
{}
{'a': 1, 2: 'b', none: 3}
{'a': {'b': 1}}['a']['b']
()
(1,)
1, 2
quote
[quote, both, ctl, uni, 'back\\slash']
{'q': quote}
messages[0]
[missing]
word | upper
word | lower
word | title
word | capitalize
uni | upper
uni | lower
uni | capitalize
'ab-cd ef(gh) x1y' | title
"it's a1b TEST".title()
uni.title()
'  a b '.strip() ~ '|'
'  a b ' | trim ~ '|'
'xxaxx' | trim('x')
'xyaxy'.strip('yx')
'xxaxx'.lstrip('x')
'xxaxx'.rstrip('x')
'\u00a0\u2003a\u3000' | trim
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
'a,b,,c'.rsplit(',')
' a  b c '.split()
' a  b c '.split(none, 1)
'abc'.split('x')
'abc'.split('')
'</think>x</think>y'.split('</think>')[-1]
'a</think>\n\nb'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
'abc'.startswith('ab')
'abc'.startswith(('x', 'a'))
'abc'.endswith('bc')
'abc'.endswith('')
'aXbXc'.replace('X', '--')
'aXbXc'.replace('X', '--', 1)
'abc'.replace('', '-')
'aaa'.replace('aa', 'b')
'aXbX' | replace('X', 'yy')
'aXbX' | replace('X', 'yy', 1)
123 | replace('2', 'x')
'abc'.find('c')
'abc'.find('z')
'é☂b'.find('b')
'abcabc'.rfind('b')
'abcabc'.count('bc')
'abc'.index('b')
'abc'.index('z')
'-'.join(['a', 'b'])
'-'.join([1])
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
'abc'.removeprefix('ab')
'abc'.removesuffix('bc')
'a\nb\r\nc'.splitlines()
'12'.isdigit()
'ab1'.isalnum()
'ab'.isalpha()
' '.isspace()
'aB'.isupper()
'ab'.islower()
'hello world'.capitalize()
items | length
word | count
nested | length
missing | length
n | length
items | first
items | last
[] | first
word | first
word | last
uni | last
nested | first
items | join
items | join(', ')
items | join(none)
people | join(', ', attribute='name')
items | reverse | list
word | reverse
items | sort
items | sort(reverse=true)
people | sort(attribute='name') | map(attribute='name') | list
['b', 'A', 'c'] | sort
['b', 'A', 'c'] | sort(case_sensitive=true)
items | sum
people | sum(attribute='age')
items | max
items | min
[] | max
[1, 1, 2, 'a', 'A'] | unique | list
{'b': 1, 'a': 2} | dictsort
{'b': 1, 'a': 2} | dictsort(by='value')
{'b': 1, 'a': 2} | items | list
missing | items | list
people | map(attribute='name') | list
people | map(attribute='zip', default='?') | list
people | map(attribute='zip') | list
['a', 'b'] | map('upper') | list
['a ', ' b'] | map('trim') | join('|')
['a', 'b'] | map('replace', 'a', 'z') | list
items | select('odd') | list
items | reject('odd') | list
items | select('gt', 1) | list
items | select('>', 1) | list
[0, 1, '', 'a', none] | select | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('age', '==', 30) | list | length
people | rejectattr('age', 'eq', 30) | map(attribute='name') | join
people | selectattr('zip') | list
people | selectattr('zip', 'defined') | list
messages | selectattr('role', 'in', ['user', 'system']) | map(attribute='role') | list
messages | map(attribute='tool_calls.0.function.name') | list
word | list
nested | list
nothing | list
missing | list
'42' | int
' 42 ' | int
'4.9' | int
'x' | int
'x' | int(5)
'ff' | int(base=16)
-4.9 | int
nothing | int
true | int
'2.5' | float
'x' | float
'x' | float(1.5)
3 | float
-3 | abs
-2.5 | abs
true | abs
2.5 | round
3.5 | round
7 | round
2.567 | round(2)
2.1 | round(method='ceil')
2.9 | round(0, 'floor')
missing | default('d')
nothing | default('d')
nothing | default('d', true)
empty | d('d', true)
missing | d
5 | string ~ 'x'
word | safe
1.0 | string
nothing | string
lines | indent
lines | indent(2, true)
lines | indent(2, first=true, blank=true)
lines | indent('> ')
nested | tojson
nested | tojson(indent=2)
nested | tojson(indent=0)
items | tojson(separators=(',', ':'))
nested | tojson(separators=(',', ':'), sort_keys=true)
[1.0, 1e20, 1e-7, true, none, 'é\u0001\u007f/<>&"\\\b\f', [], {}, (1, 2)] | tojson
[[], {}, [1]] | tojson(indent=4)
uni | tojson
uni | tojson(ensure_ascii=true)
{1: 2, 1.5: 3, none: 4, true: 5} | tojson
missing | tojson
messages | tojson
messages[2].tool_calls[0].function.arguments | tojson(indent=2)
range(5) | list
range(2, 10, 3) | list
range(5, 0, -2) | list
range(0) | list
dict(a=1, b='x')
dict({'a': 1}, b=2)
namespace(a=1).a
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S %A %j %y %B %a %I %p %%')
bos_token + eos_token
tools is none
tools is defined
add_generation_prompt
documents
raise_exception('stop: ' ~ n)
1 / 0
1 % 0
'a' + 1
[] + 'a'
1 < 'a'
n()
-word
+n
n.nope is defined
((((((1))))))
[[1, 2], [3]][0][1]
{'a': [1, {'b': 2}]}.a[1].b
'a' ~ none ~ true ~ 1.5
(n > 5) == true
n in (1, 7)
true == 1
true + 1
not missing
'%d' in 'a%d'
"}}" ~ '%}'
{'a': {'b': {}}}
items is not string
1 if n is defined and n is not none
[1, 2] < [1, 3]
'a' is eq('a') and 'b' is ne 'c'
word | upper | lower | title
(word | length) + 1
word | length + 1
-1 | abs
-n | string
word.split(' ') | last | upper
items | map('string') | join('+')
messages | length - 1
messages[-1].role
messages[::-1][0].content | trim
messages[1:] | length
(messages | last).content
messages[1].content | trim | length
messages[1]['content'].strip().split(' ')
'☂' in messages[1].content
[] is defined and not []
0.1 + 0.2
1e308 * 10
2 ** -1
2 ** 0.5
5 // 0.3
-5.5 % 2
n | tojson ~ x | tojson
'a' 'b' ~ 'c' 'd'
nested.a.b | tojson | length
'x' in {'x': 1}
'x' if 'x' in ['x'] else 'y'
[1,2,][0]
{'a':1,}.a
none is none
word is string and word | length > 3
'abc' is in('xabcx')
{'a': 1} == {'a': 1.0}
'ΑΣ'.lower() ~ 'ŉ'.upper() ~ 'ǆ'.title()
'1' + '2' | int
(1,) is sequence
'a\
b'
'''

STATEMENTS = [
    "{% for i in items %}{{ i }},{% endfor %}",
    "{% for i in items %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }};{% endfor %}",
    "{% for i in items %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in items %}{{ loop.previtem is defined }}{{ loop.nextitem.x is defined if loop.nextitem is defined else '-' }}{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in items %}x{% else %}none{% endfor %}",
    "{% for i in items if i > 1 %}{{ loop.index }}:{{ i }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for i in items if i > 9 %}x{% else %}nobody{% endfor %}",
    "{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in nested %}{{ k }};{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for c in 'aé☂' %}{{ c }}.{% endfor %}",
    "{% for c in nothing %}{{ c }}.{% endfor %}",
    "{% for c in missing %}{{ c }}.{% endfor %}",
    "{% for c in 5 %}{{ c }}.{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{% for j in range(3) %}{% if j == i %}{% break %}{% endif %}{{ i }}{{ j }} {{ loop.depth }}{% endfor %}|{% endfor %}",
    "{% for i in range(3) %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}",
    "{% for i in items %}{% set outer = loop %}{% for j in items %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% if n == 7 %}a{% elif n == 8 %}b{% else %}c{% endif %}",
    "{% if n == 8 %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if n == 0 %}a{% elif n == 1 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% endif %}b",
    "{% if not missing and messages[0].role == 'system' %}sys{% endif %}",
    "{% set a = 5 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}",
    "{% set a = 1 %}{% for i in items %}{% set a = i %}{% endfor %}{{ a }}",
    "{% set a = 1 %}{% for i in items %}{{ a }}{% set a = a + i %}{{ a }} {% endfor %}{{ a }}",
    "{% for i in items %}{% if loop.first %}{% set z = 1 %}{% endif %}{{ z is defined }}{% endfor %}{{ z is defined }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in items %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}",
    "{% set ns = namespace() %}{% set ns.x = [1] %}{% set ns.x = ns.x + [2] %}{{ ns.x }}{{ ns['x'] }}",
    "{% set ns = {} %}{% set ns.x = 1 %}",
    "{% set t %}hello {{ n }}{% endset %}[{{ t }}]{{ t is string }}",
    "{% set t | upper | trim %}  hello {{ n }} {% endset %}[{{ t }}]",
    "{% set t %}{% set inner = 5 %}{{ inner }}{% endset %}{{ t }}{{ inner is defined }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}",
    "{% macro m(a, b=a) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c=2) }}",
    "{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% set g = 3 %}{% macro m() %}{{ g }}{% set g = 9 %}{{ g }}{% endmacro %}{{ m() }}{{ g }}",
    "{% macro m() %}{{ g is defined }}{% endmacro %}{% set g = 3 %}{{ m() }}",
    "{% macro m(x) %} {{ x }} {% endmacro %}[{{ m('a') | trim }}]{{ m.name }}",
    "{% for i in items %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% filter upper %}abc {{ word }}{% endfilter %}",
    "{% filter trim | replace('b', 'X') %}  abc  {% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% generation %}x{{ n }}{% set a = 1 %}{% endgeneration %}{{ a is defined }}",
    "a{# comment #}b",
    "a{#- comment -#} b",
    "{# a {{ b }} {% c %} #}x",
    "{% raw %}{{ x }}{% if %}{% endraw %}y",
    "{%- raw -%}  {{ x }}  {%- endraw -%}  y",
    "a\n{% raw %}\n  b\n{% endraw %}\nc",
    "a\n  {% raw %}  b\n  {% endraw %}\nc",
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}  \n  b\n  {% endif %}\nc\n\n",
    "a\n  {%- if true -%}  \n  b\n  {%- endif -%}\nc",
    "a\n  {%+ if true +%}\n  b\n  {%+ endif %}\nc",
    "  {% if true %}\n  x {% endif %} y",
    "{% if true %}  {% if true %}  a{% endif %}\n  {% endif %}b",
    "a  {% if true %}b{% endif %}  \n",
    "a {{- n -}} b",
    "a\n {{ n }}\n b",
    "a\n {{- n }}\n b {{ n -}}\n c",
    "a\n   {# c #}\nb\n {#- c #}\n d {# e -#}\n f {#+ g +#}\n h",
    "  {# c #}\n  {# d #}\n  x",
    "{% for m in messages %}\n    {{ m.role }}\n{% endfor %}\n",
    "{% for m in messages -%}\n    {{ m.role }}\n{%- endfor %}\n",
    "{%- for m in messages %}\n    {{- m.role }}\n{%- endfor -%}\n",
    "a\r\n{% if true %}\r\nb\rc{% endif %}\r\n",
    "x\n\n",
    "\n\n",
    "",
    "{",
    "{ { } } {x} % %} }} #}",
    "{{ '{{' }}{{ '}}' }}{{ '{%' }}",
    "{{ {'a': {'b': 1}}['a'] }}",
    "{{- '' -}}  x",
    "{{n}}{{-1}}",
    "{{n -1}}",
    "{%if n%}a{%else%}b{%endif%}",
    "{% if n == 7\n and flag %}\nmulti\n{% endif %}",
    "{% set x = [\n  1,\n  2\n] %}{{ x }}",
    "\u00a0{% if true %}a{% endif %}",
    "a\n\u00a0\t{% if true %}a{% endif %}",
    "a \u2003{{- n }}",
    "{% for i in items recursive %}{{ i }}{% endfor %}",
    "{{ 'a' | default }}{{ missing | default }}",
    "{% set loop_messages = messages[1:] if messages[0]['role'] == 'system' else messages %}{{ loop_messages | length }}",
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}{% if ns.last == -1 and m.role == 'user' and m.content is string and not (m.content.startswith('<tool>') and m.content.endswith('</tool>')) %}{% set ns.last = index %}{% endif %}{% endfor %}{{ ns.last }}",
    "{% for m in messages %}{{ m.content if m.content is string else 'none:' ~ m.content }}|{% endfor %}",
    "{% for m in messages %}{{ m.get('name', '-') }}{% endfor %}",
    "{% for m in messages if m.tool_calls is defined %}{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{% endfor %}",
    "{% for a in range(3) %}{% set s = a ~ '' %}{{ s }}{% endfor %}{{ s }}",
    "{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% if true %}{% for i in [1] %}{% if true %}{% break %}{% endif %}{% endfor %}{% endif %}done",
    "{% set a = 1 %}{% set a = a + 1 %}{% set a = a * 10 %}{{ a }}",
    "{% set x = 'a' if false %}[{{ x }}]",
    "{{ raise_exception('bad') if n == 7 else 'fine' }}",
    "{{ raise_exception('bad') if n == 8 else 'fine' }}",
    "{{- bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + (m['content'] or '') | trim + '<|im_end|>' + '\\n' }}{% endfor %}",
]

CASES = ["{{ " + line + " }}" for line in EXPRESSIONS.replace("\\\nb", "\\\x00b").strip().split("\n")]
CASES = [case.replace("\x00", "\n") for case in CASES] + STATEMENTS
