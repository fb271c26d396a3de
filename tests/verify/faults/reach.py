"""Ways in which a server cannot be reached."""

from __future__ import annotations

import datetime
import email.utils
import time

from tests.support.tls import DAY, Authority, certificate
from tests.verify.faults.making import Answering, Changing, Site, at, breaks, replacing
from tests.verify.internet import HOST, IPV4, IPV6, OTHER_IPV4, Below, Internet
from tests.verify.proxy import Answer, Fault, html_answer, redirect


def named(*addresses: str) -> Below:
    return Below(lambda internet: internet.names.update({HOST: list(addresses)}))


@breaks("reach.name", "the name is not known")
def _(site: Site) -> Fault:
    return Below(lambda internet: internet.names.clear())


@breaks("reach.name", "the name leads into a private network")
def _(site: Site) -> Fault:
    return named(IPV4, "192.168.1.20")


@breaks("reach.name", "the name leads to the computer itself")
def _(site: Site) -> Fault:
    return named(IPV4, "127.0.0.1")


@breaks("reach.port", "the server is at another port", "reach.health")
def _(site: Site) -> Fault:
    return Below(lambda internet: None, url=f"https://{HOST}:8443")


@breaks("reach.https", "the server is reached without TLS", "metadata.issuer")
def _(site: Site) -> Fault:
    def change(internet: Internet) -> None:
        internet.ports[IPV4] = internet.plain_port

    return Below(change, url=f"http://{HOST}")


def showing(*hosts: str, good_for: datetime.timedelta = 30 * DAY) -> Below:
    def change(internet: Internet) -> None:
        internet.serve(internet.authority.issue(*hosts, good_for=good_for))

    return Below(change)


@breaks("reach.certificate", "the certificate has expired")
def _(site: Site) -> Fault:
    return showing(HOST, good_for=-DAY)


@breaks("reach.certificate", "the certificate expires in three days")
def _(site: Site) -> Fault:
    return showing(HOST, good_for=3 * DAY)


@breaks("reach.certificate", "the certificate is for another name")
def _(site: Site) -> Fault:
    return showing("www.example.com")


@breaks("reach.certificate", "the certificate is signed by itself")
def _(site: Site) -> Fault:
    def change(internet: Internet) -> None:
        internet.serve(certificate(internet.folder, HOST))

    return Below(change)


@breaks("reach.certificate", "the chain of the certificate is not whole")
def _(site: Site) -> Fault:
    def change(internet: Internet) -> None:
        internet.serve(Authority(internet.folder, "An intermediate").issue(HOST))

    return Below(change)


@breaks("reach.ipv4", "the name has IPv6 addresses only")
def _(site: Site) -> Fault:
    def change(internet: Internet) -> None:
        internet.names[HOST], internet.ports[IPV6] = [IPV6], internet.port

    return Below(change)


@breaks("reach.ipv4", "one of two addresses answers nothing")
def _(site: Site) -> Fault:
    return named(IPV4, OTHER_IPV4)


@breaks("reach.clock", "the server's clock is an hour late")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        answer.headers["date"] = email.utils.formatdate(time.time() - 3600, usegmt=True)

    return Changing(at("/healthz"), change)


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


def of_cloudflare(status: int, text: str) -> Answer:
    answer = html_answer(status, text)
    answer.headers["server"] = "cloudflare"
    return answer


@breaks("reach.health", "the tunnel is not connected")
def _(site: Site) -> Fault:
    return Answering(lambda asked: True, lambda asked: of_cloudflare(530, "error code: 1033"))


@breaks("reach.json", "a login of the tunnel stands before the metadata")
def _(site: Site) -> Fault:
    login = "https://team.cloudflareaccess.com/cdn-cgi/access/login"
    return Answering(at("/.well-known/"), lambda asked: redirect(302, login))
