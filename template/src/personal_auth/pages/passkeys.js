// Lets a button of a form make or use a passkey; the page's password needs none of this.
(() => {
  "use strict";
  const CANCELLED = {
    get: "No passkey was used: that was cancelled, took too long, or this device has none for this server.",
    create: "No passkey was made: that was cancelled, took too long, or this device cannot make one.",
  };
  const CAUSES = {
    InvalidStateError: "This device has a passkey for this server already.",
    SecurityError: "Browsers allow passkeys only at the server’s own name: open that address.",
    ConstraintError: "This device cannot ask who you are: set up its fingerprint, face or PIN first.",
    NotSupportedError: "This device makes no passkeys of a kind that this server knows.",
  };
  const trouble = document.querySelector("[data-passkey-trouble]");

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

  const toText = (buffer) => {
    const characters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
    return btoa(characters.join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const ask = (kind, options) => {
    options.challenge = toBytes(options.challenge);
    if (kind === "create") {
      options.user.id = toBytes(options.user.id);
      for (const known of options.excludeCredentials) known.id = toBytes(known.id);
    }
    return navigator.credentials[kind]({ publicKey: options });
  };

  const asJson = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      const value = credential.response[name];
      if (value) response[name] = toText(value);
    }
    const id = toText(credential.rawId);
    return JSON.stringify({ id, rawId: id, type: credential.type, response });
  };

  const send = (button, answer) => {
    const form = button.form;
    form.elements.assertion.value = answer;
    if (form.elements.password) form.elements.password.disabled = true;
    const pressed = document.createElement("input"); // form.submit() sends no button
    pressed.type = "hidden";
    pressed.name = button.name;
    pressed.value = button.value;
    form.append(pressed);
    form.submit();
  };

  const press = async (button) => {
    const kind = button.dataset.passkey;
    for (const old of document.querySelectorAll("[role=alert]")) {
      if (old !== trouble) old.remove(); // of an earlier attempt
    }
    trouble.textContent = "";
    button.disabled = true;
    try {
      send(button, asJson(await ask(kind, JSON.parse(button.dataset.options))));
    } catch (error) {
      const otherwise = button.form.elements.password ? " Try again, or use the password." : " Try again.";
      trouble.textContent = (CAUSES[error.name] || CANCELLED[kind]) + otherwise;
      button.disabled = false;
      button.focus();
    }
  };

  for (const button of document.querySelectorAll("button[data-passkey]")) {
    if (window.PublicKeyCredential) {
      button.hidden = false;
      button.addEventListener("click", (event) => {
        event.preventDefault();
        press(button);
      });
    } else if (!button.hidden) {
      trouble.textContent = "This browser cannot use passkeys: open this page in another one.";
    }
  }
})();
