//! Virtual hosts on this machine, with links that can be cut.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Process;

/// Network namespaces on two switches: one connects the hosts with each other, the other connects them with their clients. They
/// are isolated from the machine's own network, and the kernel removes each when no process is left in it.
#[derive(Debug)]
pub struct Network {
    switches: Namespace,
    clients: Namespace,
    hosts: Vec<Namespace>,
}

/// One of the two links of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The link to the other hosts.
    Hosts = 1,
    /// The link to its clients.
    Clients = 2,
}

impl Link {
    const ALL: [Self; 2] = [Self::Hosts, Self::Clients];

    fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Clients => "clients",
        }
    }
}

impl Network {
    /// Creates so many hosts, and moves this thread into the clients' namespace, which the processes that it starts inherit.
    ///
    /// # Errors
    /// Without root's rights, or without `unshare` of util-linux and `ip` of iproute2.
    pub fn of(hosts: u8) -> io::Result<Self> {
        let network = Self {
            switches: Namespace::make()?,
            clients: Namespace::make()?,
            hosts: (0..hosts)
                .map(|_| Namespace::make())
                .collect::<Result<_, _>>()?,
        };
        for link in Link::ALL {
            let name = link.name();
            network.switches.ip(&format!(
                "link add {name} type bridge\nlink set {name} up\n"
            ))?;
            for (host, namespace) in (0..).zip(&network.hosts) {
                network.connect(link, host, namespace)?;
            }
        }
        network.connect(Link::Clients, hosts, &network.clients)?;
        network.clients.enter()?;
        Ok(network)
    }

    fn connect(&self, link: Link, number: u8, namespace: &Namespace) -> io::Result<()> {
        let (switch, port) = (link.name(), port(link, number.into()));
        let (address, process) = (Self::address(number, link), namespace.holder.id());
        self.switches.ip(&format!(
            "link add {port} type veth peer name {switch} netns {process}\nlink set {port} master {switch} up\n"
        ))?;
        namespace.ip(&format!(
            "address add {address}/24 dev {switch}\nlink set {switch} up\n"
        ))
    }

    /// The address of a host, on one of its links.
    #[must_use]
    pub fn address(host: u8, link: Link) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, link as u8, host + 1)
    }

    /// Runs `action` on a host. Processes that it starts and sockets that it creates stay in that host's namespace.
    ///
    /// # Errors
    /// If this thread may not enter the host's namespace, or that of the clients again.
    pub fn run_on<T>(&self, host: usize, action: impl FnOnce() -> T) -> io::Result<T> {
        self.hosts[host].enter()?;
        let result = action();
        self.clients.enter()?;
        Ok(result)
    }

    /// Cuts links of a host. Packets sent into them are lost, and no connection is closed.
    pub fn cut(&self, host: usize, links: &[Link]) -> io::Result<()> {
        self.set(host, links, "down")
    }

    /// Restores links of a host.
    pub fn restore(&self, host: usize, links: &[Link]) -> io::Result<()> {
        self.set(host, links, "up")
    }

    fn set(&self, host: usize, links: &[Link], state: &str) -> io::Result<()> {
        let line = |&link| format!("link set {} {state}\n", port(link, host));
        self.switches
            .ip(&links.iter().map(line).collect::<String>())
    }
}

fn port(link: Link, number: usize) -> String {
    format!("{}{number}", link.name())
}

/// A network namespace, which exists as long as a process is in it.
#[derive(Debug)]
struct Namespace {
    /// A process in the namespace. It ends with this program, because it then reads the end of its input.
    holder: Process,
    file: File,
}

impl Namespace {
    fn make() -> io::Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = Process::start(&mut command)?;
        let child = holder.child();
        let (Some(input), Some(output)) = (&mut child.stdin, &mut child.stdout) else {
            return Err(io::Error::other("a process without pipes"));
        };
        // The echo shows that the namespace exists.
        input
            .write_all(b"?")
            .and_then(|()| output.read_exact(&mut [0]))
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    "no network namespace can be made; this needs root and `unshare` of util-linux",
                )
            })?;
        let file = File::open(format!("/proc/{}/ns/net", holder.id()))?;
        let namespace = Self { holder, file };
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Moves this thread into the namespace.
    fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.file.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Runs `ip` in the namespace, with these lines as its commands.
    fn ip(&self, lines: &str) -> io::Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped());
        let mut ip = Process::start(&mut command)?;
        if let Some(mut input) = ip.child().stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let ended = ip.child().wait()?;
        if ended.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "`ip` of iproute2 failed, it has said why above, at: {}",
                lines.trim_end()
            )))
        }
    }
}
