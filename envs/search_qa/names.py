"""The names that occur in generated worlds; every one is the same string wherever it stands."""

from __future__ import annotations


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _names(
    "Abram Ansel Belka Birte Corvin Cosmo Delphine Dorte Egon Emeric Fenja Frida Gregor Gustav Hanne Hedda "
    "Ilmar Ivo Jorun Jutta Kaspar Konrad Leonie Liese Magnus Milo Nadja Nele Osric Otmar Paula Petra Quirin "
    "Ragna Rosalie Sander Severin Thea Tilda Ulrik Urban Vesna Viola Wanda Wenzel Xaver Yorick Zita"
)
TOWNS = _names(
    "Ashdale Birkstad Brackwell Coldstow Dunmere Eastrow Elmford Fernholt Foxley Glenhurst Greyport Harwick "
    "Highgarth Ironside Kirkby Longmarsh Millcombe Northam Oakmoor Oldenrode Pinecrest Ravenby Redcliff "
    "Saltmere Sandby Stonely Thornby Timberley Underhill Vinefield Westbrook Yewstead"
)
COMPANIES = _names(
    "Alvex Borotec Brimelo Calmont Cintara Dentrix Dovetail Elquor Emberly Farlane Fintrak Gantrow Glasmont "
    "Holvane Intrada Jastrel Kelvora Lumetra Morvex Nortika Orvanta Pelligro Quantor Rivello Solvane Tarmont "
    "Umbrex Veltora Wexford Xandril Yarrowco Zephira"
)
RIVERS = _names(
    "Aller Bruna Corve Dalwen Eskel Firth Glimmer Hasel Isen Jorla Kestra Lunde Mirra Nidda Orla Pella"
)
MONTHS = _names("January February March April May June July August September October November December")
GOODS = _names(
    "barley candles cheese cider clocks hemp honey lace linen nails paper rope salt soap tiles wool"
)
YEARS = tuple(str(year) for year in range(1310, 1410, 10))
BOOKS = (
    "amber ledger",
    "blue atlas",
    "copper log",
    "green folio",
    "grey chronicle",
    "iron roll",
    "ivory codex",
    "oak register",
    "red almanac",
    "silver diary",
    "stone archive",
    "white journal",
)
"""The books of every library. Their names say nothing about what is in them: that is the convention."""

NAMES = (*PEOPLE, *TOWNS, *COMPANIES, *RIVERS, *MONTHS, *GOODS, *YEARS, *BOOKS)
