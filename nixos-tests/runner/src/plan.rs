//! In which ways the tests are run: what is switched off, and where their files lie.

use std::path::PathBuf;

use crate::Result;

/// A setting of the whole suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    pub name: &'static str,
    /// The value of `GLOMMIO_DISABLE`.
    pub disable: Option<&'static str>,
    about: &'static str,
}

/// Every pass, in the order in which they are made. The first one runs all tests, the others
/// those that may meet the kernel.
pub const PASSES: [Pass; 3] = [
    Pass {
        name: "full",
        disable: None,
        about: "with all that the kernel offers",
    },
    Pass {
        name: "disabled",
        disable: Some("all"),
        about: "with every optional rung of the kernel ladder switched off",
    },
    Pass {
        name: "half-way",
        disable: Some("defer_taskrun,single_issuer,msg_ring,ext_arg"),
        about: "with some of the rungs switched off",
    },
];

impl Pass {
    pub fn parse(name: &str) -> std::result::Result<Pass, String> {
        PASSES
            .into_iter()
            .find(|pass| pass.name == name)
            .ok_or_else(|| {
                let known = PASSES.map(|pass| format!("{} ({})", pass.name, pass.about));
                format!("there are {}", known.join(", "))
            })
    }
}

/// A pass, and where it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassIn {
    pub pass: Pass,
    /// The names of places; empty for all.
    places: Vec<String>,
}

impl PassIn {
    pub fn everywhere(pass: Pass) -> PassIn {
        PassIn {
            pass,
            places: Vec::new(),
        }
    }

    /// From a name, or from `NAME@PLACE,PLACE`.
    pub fn parse(text: &str) -> std::result::Result<PassIn, String> {
        let Some((name, places)) = text.split_once('@') else {
            return Pass::parse(text).map(PassIn::everywhere);
        };
        let places: Vec<String> = places.split(',').map(str::to_owned).collect();
        if places.iter().any(String::is_empty) {
            return Err("a pass and the names of folders, as in disabled@ext4,nvme".to_owned());
        }
        Ok(PassIn {
            pass: Pass::parse(name)?,
            places,
        })
    }

    pub fn is_made_in(&self, place: &Place) -> bool {
        self.places.is_empty() || self.places.contains(&place.name)
    }

    /// Refuses names that are nobody's.
    pub fn check(&self, places: &[Place]) -> Result<()> {
        let known = |name: &&String| places.iter().any(|place| place.name == **name);
        match self.places.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "the pass {} is to be made in `{name}`, and no --dir is called that",
                self.pass.name
            )
            .into()),
        }
    }
}

/// A folder for the files of tests, and what its results are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub dir: PathBuf,
}

impl Place {
    /// From `NAME=DIR`, or from `DIR` alone.
    pub fn parse(text: &str) -> std::result::Result<Place, String> {
        let (name, dir) = match text.split_once('=') {
            Some((name, dir)) => (name, dir),
            None => (text, text),
        };
        if name.is_empty() || dir.is_empty() {
            return Err("a name and a folder, as in xfs=/mnt/xfs".to_owned());
        }
        Ok(Place {
            name: name.to_owned(),
            dir: PathBuf::from(dir),
        })
    }

    /// The folder for temporary files of this process.
    pub fn temporary() -> Place {
        Place {
            name: "tmp".to_owned(),
            dir: std::env::temp_dir(),
        }
    }

    /// A fresh folder in this place.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("glommio-test-")
            .tempdir_in(&self.dir)
            .map_err(|error| format!("{}: {error}", self.dir.display()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_found_by_name_and_listed_when_not() {
        assert_eq!(Pass::parse("disabled"), Ok(PASSES[1]));
        assert_eq!(PASSES[0].disable, None, "the first pass is the whole one");
        let error = Pass::parse("nothing").unwrap_err();
        assert!(
            PASSES.iter().all(|pass| error.contains(pass.name)),
            "{error}"
        );
    }

    #[test]
    fn a_pass_is_made_everywhere_or_where_it_says() {
        let places = ["ext4=/mnt/a", "nvme=/mnt/b"].map(|text| Place::parse(text).unwrap());
        let made_in = |text: &str| {
            let pass = PassIn::parse(text).unwrap();
            pass.check(&places).unwrap();
            places.each_ref().map(|place| pass.is_made_in(place))
        };
        assert_eq!(made_in("full"), [true, true]);
        assert_eq!(made_in("full@nvme"), [false, true]);
        assert_eq!(made_in("disabled@nvme,ext4"), [true, true]);
        for wrong in ["nothing@ext4", "full@", "full@ext4,", "@ext4"] {
            assert!(PassIn::parse(wrong).is_err(), "{wrong}");
        }
        let elsewhere = PassIn::parse("full@ext4,xfs").unwrap();
        let error = elsewhere.check(&places).unwrap_err();
        assert!(error.to_string().contains("`xfs`"), "{error}");
    }

    #[test]
    fn a_place_has_a_name_and_a_folder() {
        let place = Place::parse("xfs=/mnt/a=b").unwrap();
        assert_eq!((place.name.as_str(), place.dir), ("xfs", "/mnt/a=b".into()));
        assert_eq!(Place::parse("/mnt").unwrap().name, "/mnt");
        for wrong in ["", "=", "xfs=", "=/mnt"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
