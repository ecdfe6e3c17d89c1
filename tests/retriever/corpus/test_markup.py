"""Formats of plain text: headings, listings and tables are told by sight."""

import pytest

from tamis.retriever.corpus.asciidoc import read_asciidoc
from tamis.retriever.corpus.blocks import heading_text
from tamis.retriever.corpus.org import read_org
from tamis.retriever.corpus.restructured_text import read_restructured_text

RST = """\
:orphan:
:date: 2024-05-31

.. _top:

======
Sieves
======

A *drum* sieve, see :ref:`the mesh <mesh>`, ``--fine`` and `a site <http://x.y>`_.
It **sifts**::

    $ sift --fine
      flour

Mesh
----

.. toctree::
   :maxdepth: 2

   mesh/one

.. note:: Mind the
   wire.

.. code-block:: python
   :linenos:

   def f():
       return 1

- flour
- soil

.. versionadded:: 2.0
   The *fine* mesh.

.. a comment

=====  =====
mesh   mm
=====  =====
fine   0.5
=====  =====

Wire
~~~~
End.
"""
ADOC = """\
= Sieves
Ann Author <ann@example.org>
:date: 2024-05-31
:toc:

A *drum* sieve, see link:mesh.html[the mesh], `--fine` and linkgit:git-add[1].

[source,console]
----
$ sift --fine
  flour
----

// a comment
== Mesh

include::other.adoc[]

.A table
|===
|mesh |mm
|fine |0.5
|===

* flour
* soil

Wire
~~~~
gauge::
    How thick it is.

////
hidden
////
End.
"""
ORG = """\
#+TITLE: Sieves
#+DATE: 2024-05-31
#+FILETAGS: :kitchen:tools:
#+OPTIONS: toc:nil

A *drum* sieve, see [[file:mesh.org][the mesh]] and =--fine=.

#+BEGIN_SRC sh
$ sift --fine
  flour
#+END_SRC

* TODO Mesh :metal:
:PROPERTIES:
:ID: 7
:END:
# a comment
| mesh | mm |
|------+----|
| fine | 0.5 |

- flour
- soil

** Wire
End.
"""


def shown(blocks):
    return [block.text if not block.level else (block.level, block.text) for block in blocks]


def test_restructured_text_is_read_for_its_words():
    blocks, fields = read_restructured_text(RST)
    assert fields == {"date": "2024-05-31"}
    assert shown(blocks) == [
        (1, "Sieves"),
        "A drum sieve, see the mesh, --fine and a site. It sifts:",
        "$ sift --fine\n  flour",
        (2, "Mesh"),
        "Mind the wire.",
        "def f():\n    return 1",
        "flour",
        "soil",
        "New in version 2.0",
        "The fine mesh.",
        "mesh | mm\nfine | 0.5",
        (3, "Wire"),
        "End.",
    ]


def test_asciidoc_is_read_for_its_words():
    blocks, fields = read_asciidoc(ADOC)
    assert fields == {"date": "2024-05-31"}
    assert shown(blocks) == [
        (1, "Sieves"),
        "A drum sieve, see the mesh, --fine and git-add(1).",
        "$ sift --fine\n  flour",
        (2, "Mesh"),
        "A table",
        "mesh | mm\nfine | 0.5",
        "flour",
        "soil",
        (3, "Wire"),
        "gauge",
        "How thick it is.",
        "End.",
    ]


def test_org_is_read_for_its_words():
    blocks, fields = read_org(ORG)
    assert fields == {"title": "Sieves", "date": "2024-05-31", "tags": ["kitchen", "tools"]}
    assert shown(blocks) == [
        "A drum sieve, see the mesh and --fine.",
        "$ sift --fine\n  flour",
        (1, "Mesh"),
        "mesh | mm\nfine | 0.5",
        "flour",
        "soil",
        (2, "Wire"),
        "End.",
    ]


@pytest.mark.parametrize("read", [read_restructured_text, read_asciidoc, read_org])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "::",
        "----",
        "====\n====",
        "----\nnever closed",
        ".. ",
        "|===",
        "#+BEGIN_SRC",
        "*",
    ],
)
def test_a_text_that_is_no_proper_markup_is_read(read, text):
    blocks, _ = read(text)
    assert all(block.text.strip() for block in blocks)
    assert isinstance(heading_text(blocks), str)


@pytest.mark.parametrize("read", [read_restructured_text, read_asciidoc, read_org])
def test_no_word_of_plain_paragraphs_is_lost(read):
    text = "The sieve, 3.5 mm * 2, costs a_b and c_d; e.g. x*y*z.\nNext line: (yes) --fine.\n" * 50
    (block,) = read(text)[0]
    assert block.text.split() == text.split()
