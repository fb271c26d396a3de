"""Ways in which a server cannot be reached."""

from __future__ import annotations

from tests.verify.faults.making import Answering, Changing, Site, at, breaks, replacing
from tests.verify.proxy import Answer, Fault, html_answer, redirect


@breaks("reach.health", "the tunnel leads to another program")
def _(site: Site) -> Fault:
    return Answering(at("/healthz"), lambda asked: Answer(404))


@breaks("reach.health", "the server behind the tunnel is gone")
def _(site: Site) -> Fault:
    return Answering(at("/healthz"), lambda asked: html_answer(502, "Bad gateway"))


@breaks("reach.json", "a challenge page stands before the metadata")
def _(site: Site) -> Fault:
    return Answering(at("/.well-known/"), lambda asked: html_answer(200))


@breaks("reach.json", "the metadata is redirected to another host")
def _(site: Site) -> Fault:
    where = "https://www.example.com"
    return Answering(at("/.well-known/"), lambda asked: redirect(301, where + asked.path))


@breaks("reach.json", "what is not there is a page of the proxy")
def _(site: Site) -> Fault:
    return Changing(at("/.well-known/nothing"), replacing(".*", "Not found"))
