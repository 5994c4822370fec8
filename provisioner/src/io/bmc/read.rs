//! What takes more than one command: sensors, the event log, the inventory, the way a BMC is reached.

use std::collections::HashSet;

use reveille_config::limit;

use super::{BmcError, BmcSocket, BmcTarget};
use crate::proto::ipmi::command::{
    ClearSel, GetFruInfo, GetLanParameter, GetSdr, GetSelEntry, GetSelInfo, GetSensorReading, GetSensorReadingFactors,
    Inventory, LanParameter, LanValue, RawReading, ReadFru, ReserveSdr, ReserveSel, SelEntry, Sensor,
};
use crate::proto::ipmi::{Cause, CompletionCode};

/// Octets asked of a record or an inventory at a time, first. A BMC that cannot is asked for less, down to [`PART_BYTES_MIN`].
const PART_BYTES: u8 = 64;
const PART_BYTES_MIN: u8 = 8;
/// Reservations that one reading may lose to others before it is given up.
const RESERVATIONS_MAX: u8 = 5;
/// Looks at whether the event log is erased.
const ERASE_LOOKS_MAX: u8 = 30;

const RESERVATION_CANCELLED: CompletionCode = CompletionCode(0xc5);
const NOT_PRESENT: CompletionCode = CompletionCode(0xcb);

fn code(error: &BmcError) -> Option<CompletionCode> {
    match error.cause() {
        Some(Cause::Completion { code, .. }) => Some(*code),
        _ => None,
    }
}

/// A completion code that asks for shorter parts.
fn is_too_long(error: &BmcError) -> bool {
    matches!(code(error), Some(CompletionCode(0xc4 | 0xc7 | 0xc8 | 0xca | 0xff)))
}

impl BmcSocket {
    /// The BMC's sensors, in the order of its repository, with what they read now; `None` for one that says it is not there.
    /// Sensors behind other controllers are asked through the BMC, and non-linear ones for the factors of what they read. At most [`limit::BMC_RECORDS_MAX`] records are read.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn sensors(&self, target: &BmcTarget) -> Result<Vec<(Sensor, Option<RawReading>)>, BmcError> {
        let mut sensors = Vec::new();
        for record in self.sensor_records(target).await? {
            let Some(mut sensor) = Sensor::decode(&record) else { continue };
            let route = if target.route.is_bridged() { target.route } else { sensor.route };
            let reading = match self.execute_via(target, GetSensorReading(sensor.number), route).await {
                Ok(reading) => Some(reading),
                Err(error) if code(&error).is_some() => None,
                Err(error) => return Err(error),
            };
            if let (Some(RawReading { raw: Some(raw), .. }), Some(scale)) = (&reading, &sensor.scale)
                && scale.varies()
            {
                let ask = GetSensorReadingFactors { number: sensor.number, raw: *raw };
                match self.execute_via(target, ask, route).await {
                    Ok(factors) => sensor.scale = sensor.scale.map(|scale| scale.with(factors)),
                    // A reading without a value is still one with a state.
                    Err(error) if code(&error).is_some() => {}
                    Err(error) => return Err(error),
                }
            }
            sensors.push((sensor, reading));
        }
        Ok(sensors)
    }

    async fn sensor_records(&self, target: &BmcTarget) -> Result<Vec<Vec<u8>>, BmcError> {
        let mut records = Vec::new();
        // A repository that leads back to where it was is not followed round and round.
        let mut seen = HashSet::new();
        let mut next = Some(0);
        let mut reader =
            RecordReader { reservation: self.execute(target, ReserveSdr).await?, part: PART_BYTES, lost: 0 };
        while let Some(id) = next.filter(|id| records.len() < limit::BMC_RECORDS_MAX && seen.insert(*id)) {
            let (after, record) = reader.record(self, target, id).await?;
            records.push(record);
            next = after;
        }
        Ok(records)
    }

    /// The event log, oldest entry first; entries of unknown form are left out. At most [`limit::BMC_RECORDS_MAX`] are read.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn events(&self, target: &BmcTarget) -> Result<Vec<SelEntry>, BmcError> {
        if self.execute(target, GetSelInfo).await?.entries == 0 {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(0);
        while let Some(id) = next.filter(|id| seen.len() < limit::BMC_RECORDS_MAX && seen.insert(*id)) {
            match self.execute(target, GetSelEntry(id)).await {
                Ok(part) => {
                    next = part.next;
                    entries.push(part.entry);
                }
                // Erased meanwhile.
                Err(error) if code(&error) == Some(NOT_PRESENT) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Erases the event log, and waits until the BMC says that it is done.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn clear_events(&self, target: &BmcTarget) -> Result<(), BmcError> {
        let reservation = self.execute(target, ReserveSel).await?;
        let mut is_done = self.execute(target, ClearSel { reservation, begin: true }).await?;
        for _ in 0..ERASE_LOOKS_MAX {
            if is_done {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            is_done = self.execute(target, ClearSel { reservation, begin: false }).await?;
        }
        Ok(())
    }

    /// The BMC's own inventory; empty if it has none that can be read.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn inventory(&self, target: &BmcTarget) -> Result<Inventory, BmcError> {
        let (size, in_words) = match self.execute(target, GetFruInfo(0)).await {
            Ok(info) => info,
            Err(error) if code(&error) == Some(NOT_PRESENT) => return Ok(Inventory::default()),
            Err(error) => return Err(error),
        };
        let (size, unit) = (usize::from(size), if in_words { 2 } else { 1 });
        let (mut octets, mut part) = (Vec::new(), PART_BYTES);
        while octets.len() < size {
            let count = (size - octets.len()).min(part.into()).div_ceil(unit) as u8;
            let offset = (octets.len() / unit) as u16;
            match self.execute(target, ReadFru { unit: 0, offset, count }).await {
                Ok(more) if more.is_empty() => break,
                Ok(more) => octets.extend(more),
                Err(error) if is_too_long(&error) && part > PART_BYTES_MIN => part /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(Inventory::decode(&octets).unwrap_or_default())
    }

    /// A parameter of the channel it is asked over; `None` if the BMC does not have it.
    ///
    /// # Errors
    /// As [`BmcSocket::execute`].
    pub async fn lan_parameter(
        &self,
        target: &BmcTarget,
        parameter: LanParameter,
    ) -> Result<Option<LanValue>, BmcError> {
        match self.execute(target, GetLanParameter(parameter)).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if code(&error).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct RecordReader {
    reservation: u16,
    part: u8,
    lost: u8,
}

impl RecordReader {
    /// The next record's id, and this record.
    async fn record(
        &mut self,
        bmc: &BmcSocket,
        target: &BmcTarget,
        id: u16,
    ) -> Result<(Option<u16>, Vec<u8>), BmcError> {
        let header = GetSdr::HEADER_BYTES;
        let mut octets: Vec<u8> = Vec::new();
        let mut next = None;
        loop {
            let whole = octets.get(4).map(|len| header + len.min(&(u8::MAX - header)));
            let Some(len) = whole.unwrap_or(header).checked_sub(octets.len() as u8).filter(|len| *len > 0) else {
                return Ok((next, octets));
            };
            let request = GetSdr {
                reservation: self.reservation,
                record: id,
                offset: octets.len() as u8,
                len: len.min(self.part),
            };
            match bmc.execute(target, request).await {
                Ok(part) if part.octets.is_empty() => return Ok((part.next, octets)),
                Ok(part) => {
                    next = part.next;
                    octets.extend(part.octets.iter().take(len.into()));
                }
                Err(error) if is_too_long(&error) && self.part > PART_BYTES_MIN => self.part /= 2,
                Err(error) if code(&error) == Some(RESERVATION_CANCELLED) && self.lost < RESERVATIONS_MAX => {
                    self.lost += 1;
                    self.reservation = bmc.execute(target, ReserveSdr).await?;
                    octets.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }
}
