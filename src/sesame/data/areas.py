"""What each module of the standard library is about: a table made by hand, for splitting and for `pydocs/area`."""

_MODULES = {
    "collections and types": """collections _collections_abc typing types enum dataclasses functools operator heapq
        bisect weakref _weakrefset copy copyreg contextlib abc _py_abc graphlib reprlib pprint queue array""",
    "concurrency": """asyncio multiprocessing threading _threading_local _dummy_thread concurrent subprocess sched
        contextvars signal""",
    "editor": "idlelib _pyrepl rlcompleter",
    "files": """os pathlib shutil posixpath ntpath genericpath macpath nturl2path tempfile glob fnmatch fileinput
        filecmp io _pyio stat linecache""",
    "graphics": "tkinter turtle",
    "imports and packages": """importlib imp pkgutil zipimport runpy modulefinder site sysconfig ensurepip venv zipapp
        distutils""",
    "language tools": """ast _ast_unparse dis opcode symtable tokenize token keyword inspect pyclbr code codeop
        py_compile compileall pickletools pydoc annotationlib""",
    "mail": "email mailbox smtplib smtpd imaplib poplib nntplib mailcap mimetypes quopri uu binhex base64",
    "network": "socket socketserver ssl ftplib telnetlib ipaddress asyncore asynchat selectors netrc uuid",
    "numbers and dates": """decimal _pydecimal _pylong fractions statistics random numbers math colorsys secrets
        datetime _pydatetime calendar zoneinfo time _strptime""",
    "programs": "logging configparser argparse optparse getopt cmd getpass",
    "storage": "tarfile zipfile gzip bz2 lzma _compression compression shelve dbm sqlite3 pickle plistlib",
    "testing and debugging": """unittest doctest pdb bdb trace traceback tracemalloc timeit profile profiling pstats
        cProfile cgitb faulthandler warnings""",
    "text": """string re sre_compile sre_parse difflib textwrap codecs stringprep unicodedata struct json csv tomllib
        shlex locale gettext""",
    "web": "http urllib wsgiref xmlrpc html cgi webbrowser",
    "xml": "xml _markupbase",
}
_AREA = {module: area for area, modules in _MODULES.items() for module in modules.split()}
AREAS = tuple(_MODULES)


def area(module: str) -> str:
    """The area of a module, by its first name; empty where the table has none."""
    return _AREA.get(module.partition(".")[0], "")
