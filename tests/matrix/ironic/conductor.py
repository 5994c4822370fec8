"""A real, stand-alone Ironic (sqlite, no authentication, fake hardware) whose DHCP provider is dhcpd, from a deploy to its end.

usage: conductor.py VENV DIRECTORY PROVIDER
PROVIDER: reveille=unix:/path/of/dhcpd.sock, or dnsmasq=/directory for files in its `hosts` and `options`

Commands on standard input, one answer each on standard output, the node: `deploy MAC` has one with that port wait for its agent, `undeploy` ends it.
Everything that Ironic says goes to DIRECTORY/ironic.log.
"""

import functools
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PATIENCE_SECS = 180
CONF = """
[DEFAULT]
auth_strategy = noauth
host = conductor
state_path = {dir}
rpc_transport = none
debug = true
enabled_hardware_types = fake-hardware
enabled_boot_interfaces = ipxe
enabled_deploy_interfaces = direct
enabled_management_interfaces = fake
enabled_power_interfaces = fake
enabled_network_interfaces = noop
enabled_inspect_interfaces = no-inspect
enabled_firmware_interfaces = no-firmware
force_raw_images = false
[database]
connection = sqlite:///{dir}/ironic.sqlite
[api]
host_ip = 127.0.0.1
port = {port}
[conductor]
automated_clean = false
disable_deep_image_inspection = true
file_url_allowed_paths = {dir}
[deploy]
http_root = {dir}/http
http_url = http://127.0.0.1:{files}
[pxe]
tftp_root = {dir}/tftp
tftp_server = 127.0.0.1
tftp_master_path = {dir}/masters
images_path = {dir}/images
instance_master_path = {dir}/instances
[service_catalog]
auth_type = none
endpoint_override = http://127.0.0.1:{port}
[oslo_concurrency]
lock_path = {dir}/locks
"""


def serve(directory):
    """Serves what the conductor has for the agent; the port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Ironic:
    def __init__(self, venv, directory, provider):
        name, _, where = provider.partition("=")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for each in ("http", "tftp", "images", "locks", "masters", "instances"):
            os.makedirs(os.path.join(directory, each), exist_ok=True)
        for each in ("kernel", "ramdisk", "image"):
            with open(os.path.join(directory, each), "wb") as file:
                file.write(each.encode())
        conf = os.path.join(directory, "ironic.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(CONF.format(dir=directory, port=self.port, files=serve(os.path.join(directory, "http"))))
            file.write("[dhcp]\ndhcp_provider = %s\n" % name)
            if name == "reveille":
                file.write("[reveille]\napi = %s\n" % where)
            else:
                file.write("[dnsmasq]\ndhcp_hostsdir = {0}/hosts\ndhcp_optsdir = {0}/options\n".format(where))
        self.directory = directory
        with open(os.path.join(directory, "ironic.log"), "ab") as log:
            def start(program, *arguments, run=subprocess.Popen):
                command = [os.path.join(venv, "bin", program), "--config-file", conf, *arguments]
                return run(command, stdout=log, stderr=log, cwd=directory)
            start("ironic-dbsync", "create_schema", run=subprocess.check_call)
            self.process = start("ironic")

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-OpenStack-Ironic-API-Version": "1.80"}
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError("%s %s: %d %s" % (method, path, error.code, error.read().decode())) from error
        return json.loads(text) if text else None

    def until(self, what, done):
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError("ironic has ended")
            try:
                found = done()
                if found:
                    return found
            except OSError as error:
                found = error
            if time.monotonic() > deadline:
                raise RuntimeError("waited for %s; last: %s" % (what, found))
            time.sleep(0.2)

    def until_state(self, node, *states):
        def look():
            now = self.ask("GET", "/v1/nodes/" + node)
            if now["provision_state"] in states:
                return now
            if "failed" in now["provision_state"] or now["provision_state"] == "error":
                raise RuntimeError("%s: %s" % (now["provision_state"], now["last_error"]))
            return None
        return self.until(" or ".join(states), look)

    def provision(self, node, target):
        self.ask("PUT", "/v1/nodes/%s/states/provision" % node, {"target": target})

    def deploy(self, mac):
        """A node that waits for its agent to come up."""
        self.until("the conductor", lambda: self.ask("GET", "/v1/drivers/fake-hardware"))
        files = {"deploy_" + each: "file://%s/%s" % (self.directory, each) for each in ("kernel", "ramdisk")}
        node = self.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "driver_info": files})["uuid"]
        self.ask("POST", "/v1/ports", {"node_uuid": node, "address": mac})
        for target, state in (("manage", "manageable"), ("provide", "available")):
            self.provision(node, target)
            self.until_state(node, state)
        image = {
            "image_source": "file://%s/image" % self.directory,
            "image_os_hash_algo": "sha256",
            "image_os_hash_value": hashlib.sha256(b"image").hexdigest(),
            "image_disk_format": "raw",
            "image_type": "whole-disk",
        }
        patch = [{"op": "add", "path": "/instance_info/" + name, "value": value} for name, value in image.items()]
        self.ask("PATCH", "/v1/nodes/" + node, patch)
        self.provision(node, "active")
        self.until_state(node, "wait call-back")
        return node

    def undeploy(self, node):
        self.provision(node, "deleted")
        self.until_state(node, "available")


def main():
    ironic = Ironic(*sys.argv[1:4])
    node = None
    try:
        for line in sys.stdin:
            verb, *arguments = line.split()
            if verb == "deploy":
                node = ironic.deploy(*arguments)
            elif verb == "undeploy":
                ironic.undeploy(node)
            print(node, flush=True)
    finally:
        ironic.process.terminate()
        try:
            ironic.process.wait(30)
        except subprocess.TimeoutExpired:
            ironic.process.kill()


if __name__ == "__main__":
    main()
