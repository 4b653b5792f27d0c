//! Whose code a function is, as a reader of a profile asks: mine, or something that I use?

use crate::function::FunctionId;
use crate::info::Profile;

/// Whose code a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The program's own: whatever is none of the others.
    Own,
    /// An installed package: below a folder `site-packages` or `dist-packages`.
    Library,
    /// Python's standard library, the frozen modules of the interpreter included.
    StandardLibrary,
    /// Machine code.
    Native,
    /// The garbage collector.
    Gc,
}

/// Name of the frame that stands for a garbage collection; it has no file.
const GC_NAME: &str = "<GC>";

impl Origin {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Origin; 5] = [Origin::Own, Origin::Library, Origin::StandardLibrary, Origin::Native, Origin::Gc];

    /// What to call it: `own code`, `standard library`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Origin::Own => "own code",
            Origin::Library => "library",
            Origin::StandardLibrary => "standard library",
            Origin::Native => "native",
            Origin::Gc => "garbage collector",
        }
    }

    /// Decides by what a function is called and where its code lies.
    #[must_use]
    pub fn of(name: &str, file: &str, is_native: bool) -> Origin {
        if name == GC_NAME && file.is_empty() {
            Origin::Gc
        } else if is_native {
            Origin::Native
        } else if file.starts_with("<frozen ") {
            Origin::StandardLibrary
        } else {
            Origin::of_file(file)
        }
    }

    fn of_file(file: &str) -> Origin {
        // The last part is a file, not a folder.
        let Some((folders, _)) = file.rsplit_once(['/', '\\']) else { return Origin::Own };
        let mut origin = Origin::Own;
        let mut before = "";
        for folder in folders.split(['/', '\\']) {
            if ["site-packages", "dist-packages"].contains(&folder) {
                // It lies within the standard library's folder, so whatever came before does not count.
                return Origin::Library;
            }
            let in_lib = ["lib", "lib64"].contains(&before) && is_python(folder, &["python", "pypy"]);
            // Windows has the version before: `Python312\Lib`.
            let windows_lib = folder.eq_ignore_ascii_case("lib") && is_python(before, &["Python", "cpython-"]);
            let zip = folder.ends_with(".zip") && is_python(folder, &["python"]);
            if in_lib || windows_lib || zip {
                origin = Origin::StandardLibrary;
            }
            before = folder;
        }
        origin
    }
}

/// One of these words and a version, as in `python3.13t`. Debian's `python3`, where only packages are, is none.
fn is_python(folder: &str, words: &[&str]) -> bool {
    let versions = words.iter().filter_map(|word| folder.strip_prefix(word));
    versions.into_iter().any(|version| version.len() > 1 && version.starts_with(|first: char| first.is_ascii_digit()))
}

impl Profile {
    /// Whose code a function of this profile is.
    #[must_use]
    pub fn origin(&self, function: FunctionId) -> Origin {
        let function = self.functions.get(function);
        Origin::of(self.strings.get(function.name), self.strings.get(function.file), function.is_native)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_file() {
        let cases = [
            ("/srv/app/main.py", Origin::Own),
            ("main.py", Origin::Own),
            ("", Origin::Own),
            ("<stdin>", Origin::Own),
            ("<string>", Origin::Own),
            ("/home/me/lib/python_tools/x.py", Origin::Own),
            ("/home/me/lib/python3.12", Origin::Own), // a file of that name
            ("/home/me/site-packages", Origin::Own),
            ("/home/me/my-site-packages/x.py", Origin::Own),
            ("/usr/lib/python3/x.py", Origin::Own),
            ("/usr/lib/python3.12/json/decoder.py", Origin::StandardLibrary),
            ("/opt/py/lib64/python3.9/os.py", Origin::StandardLibrary),
            ("/opt/py/lib/python3.13t/os.py", Origin::StandardLibrary),
            ("/opt/pypy/lib/pypy3.10/os.py", Origin::StandardLibrary),
            ("/usr/lib/python312.zip/os.py", Origin::StandardLibrary),
            ("<frozen importlib._bootstrap>", Origin::StandardLibrary),
            (r"C:\Program Files\Python312\Lib\json\decoder.py", Origin::StandardLibrary),
            (r"C:\uv\cpython-3.12.1-windows-x86_64-none\Lib\os.py", Origin::StandardLibrary),
            ("/usr/lib/python3.12/site-packages/numpy/core.py", Origin::Library),
            ("/srv/.venv/lib/python3.12/site-packages/x.py", Origin::Library),
            ("/usr/lib/python3/dist-packages/apt/cache.py", Origin::Library),
            (r"C:\Python312\Lib\site-packages\numpy\core.py", Origin::Library),
            // A package that carries a Python of its own is still a package.
            ("/srv/lib/python3.12/site-packages/x/lib/python3.12/os.py", Origin::Library),
        ];
        for (file, origin) in cases {
            assert_eq!(Origin::of("f", file, false), origin, "{file}");
        }
    }

    #[test]
    fn machine_code_and_the_collector() {
        assert_eq!(Origin::of("memcpy", "/usr/lib/libc.so.6", true), Origin::Native);
        assert_eq!(Origin::of("f", "/srv/lib/python3.12/site-packages/x.so", true), Origin::Native);
        assert_eq!(Origin::of("<GC>", "", false), Origin::Gc);
        assert_eq!(Origin::of("<GC>", "", true), Origin::Gc);
        // Somebody else's function of that name.
        assert_eq!(Origin::of("<GC>", "/srv/app.py", false), Origin::Own);
    }

    #[test]
    fn of_a_profile() {
        let mut recording = crate::Recording::without_limit(crate::RecordingInfo::default());
        let own = recording.intern_function("f", "/srv/app.py", 1, false);
        let library = recording.intern_function("f", "/v/lib/python3.9/site-packages/x.py", 1, false);
        let native = recording.intern_function("memcpy", "libc.so.6", 0, true);
        let profile = recording.finish(crate::Moment::default(), crate::Counters::default());
        let origins = [own, library, native].map(|function| profile.origin(function));
        assert_eq!(origins, [Origin::Own, Origin::Library, Origin::Native]);
    }
}
