#!/usr/bin/perl
# Called by ipmi_sim as: hook.pl SOCKET (get|set|check) NAME [VALUE]
# Passes the request to the lab, which owns the machine, and prints its answer. A unix socket crosses network
# namespaces; perl with its Socket module is part of every Debian system.
use strict;
use warnings;
use Socket;

my $path = shift @ARGV;
socket(my $lab, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
connect($lab, sockaddr_un($path)) or die "the lab does not listen at $path: $!\n";
syswrite($lab, "@ARGV\n") or die "write: $!\n";
shutdown($lab, 1);
my $status = <$lab> // die "the lab did not answer\n";
print while <$lab>;
exit($status eq "ok\n" ? 0 : 1);
