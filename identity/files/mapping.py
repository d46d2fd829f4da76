"""Which column of a file says what: guessed from column names, English or Chinese, or read from a YAML file."""

import re
import unicodedata
from collections.abc import Sequence

from pydantic import field_validator

from cdp.errors import ConfigError
from cdp.standard import names
from cdp.strict import Strict

# Names of columns in letters and digits alone. Earlier ones win; a column serves one field.
NAMES: dict[str, str] = {
    "id": "uniqueid recordid recid rowid customerid userid personid id uid key 编号 客户编号 记录编号 会员号 会员编号 用户编号 用户id 序号",
    "given_name": "firstname givenname forename fname first given fnamec1 名 名字",
    "middle_name": "middlename middle mname secondname fnamec2 中间名",
    "family_name": "surname lastname familyname lname last family lnamec1 姓 姓氏",
    "second_family_name": "secondsurname lnamec2 maternalsurname",
    "full_name": "fullname name customername personname contactname clientname patientname displayname 姓名 客户姓名 名称 联系人 收货人 收件人",
    "birth_date": "dob dateofbirth birthdate birthday birth born datebirth 出生日期 生日 出生年月日 出生年月",
    "birth_year": "birthyear yearofbirth yob by 出生年",
    "birth_month": "birthmonth monthofbirth mob bm 出生月",
    "birth_day": "birthday dayofbirth bd 出生日",
    "email": "email emailaddress mail emailid contactemail 邮箱 电子邮箱 电子邮件 邮件 电邮 电子信箱 信箱",
    "phone": "phone phonenumber mobile mobilenumber mobilephone telephone tel cell cellphone contactnumber homephone 手机 手机号 手机号码 电话 联系电话 电话号码 移动电话 联系方式 固定电话 座机",
    "postal_code": "postcode postalcode zip zipcode postal 邮编 邮政编码 邮递区号",
    "city": "city town suburb place locality municipality birthplace placeofbirth residence 城市 市 地区 所在城市 常住城市 所在地",
    "street": "street address streetaddress addressline address1 addressline1 streetname addr 地址 住址 详细地址 通讯地址 家庭住址 收货地址",
    "street_number": "streetnumber housenumber houseno",
    "street_more": "address2 addressline2 apartment unit",
    "region": "state county province region 省 省份 州",
    "gender": "gender sex 性别",
    "occupation": "occupation job profession jobtitle 职业",
    "national_id": "socsecid ssn socialsecurity socialsecuritynumber nationalid nino passport passportnumber taxid idcard idnumber 身份证 身份证号 身份证号码 证件号码 证件号",
}  # fmt: skip
# A longer name that holds one of these words, where no column bears a usual name: postcode_fake, contact_email_1.
WITHIN = {
    "postcode": "postal_code", "zipcode": "postal_code", "postal": "postal_code", "email": "email", "phone": "phone", "mobile": "phone",
    "surname": "family_name", "lastname": "family_name", "familyname": "family_name", "firstname": "given_name", "givenname": "given_name",
    "forename": "given_name", "fullname": "full_name", "birthdate": "birth_date", "dateofbirth": "birth_date", "dob": "birth_date",
    "birthplace": "city", "city": "city", "suburb": "city", "gender": "gender", "occupation": "occupation", "address": "street",
    "手机": "phone", "行动电话": "phone", "电话": "phone", "邮箱": "email", "姓名": "full_name", "出生": "birth_date", "邮编": "postal_code", "地址": "street",
}  # fmt: skip
REQUIRED = 2
LONG = 5  # letters: `mobileno` is a mobile, `ethnicity` no city
NOT_OF_A_PERSON = {"ip", "mac", "web", "url", "website", "company", "product"}


class Mapping(Strict):
    """Field → column, or columns in order of trust (phones) or of writing (street)."""

    id: str | None = None
    given_name: tuple[str, ...] = ()
    middle_name: tuple[str, ...] = ()
    family_name: tuple[str, ...] = ()
    second_family_name: tuple[str, ...] = ()
    full_name: tuple[str, ...] = ()
    birth_date: tuple[str, ...] = ()
    birth_year: tuple[str, ...] = ()
    birth_month: tuple[str, ...] = ()
    birth_day: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    phone: tuple[str, ...] = ()
    postal_code: tuple[str, ...] = ()
    city: tuple[str, ...] = ()
    street: tuple[str, ...] = ()
    street_number: tuple[str, ...] = ()
    street_more: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    gender: tuple[str, ...] = ()
    occupation: tuple[str, ...] = ()
    national_id: tuple[str, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_more(cls, value: object, info: object) -> object:
        return (value,) if isinstance(value, str) and info.field_name != "id" else value  # type: ignore[attr-defined]

    @property
    def used(self) -> dict[str, tuple[str, ...]]:
        """Fields of the person that a column says, without the id."""
        return {field: columns for field, columns in self if field != "id" and columns}

    def check(self, columns: Sequence[str]) -> None:
        """Refuse a mapping that names absent columns or too few.

        Raises:
            ConfigError: It says which columns there are.
        """
        wanted = [self.id] if self.id else []
        wanted += [column for named in self.used.values() for column in named]
        if absent := sorted(set(wanted) - set(columns)):
            raise ConfigError(f"the file has no column {', '.join(absent)}", f"its columns are: {', '.join(columns)}")
        if len(self.used) < REQUIRED:
            raise ConfigError(
                f"only {len(self.used)} of the columns could be read as facts about a person: {', '.join(columns)}",
                "write a mapping (given_name: COLUMN, family_name: COLUMN, birth_date: COLUMN, email: COLUMN, …) and pass it "
                "with --mapping FILE.yaml",
            )


def guess(columns: Sequence[str], leave_out: Sequence[str] = ()) -> Mapping:
    """Guess from names; `leave_out` (the truth) is never read."""
    plain = {column: _plain(column) for column in columns if column not in leave_out}
    usual = {word: field for field, words in reversed(NAMES.items()) for word in words.split()}
    found: dict[str, list[str]] = {}
    for column, name in plain.items():
        bare = re.sub(r"\d+$", "", name)
        if field := usual.get(name) or (usual.get(bare) if bare and field_repeats(usual.get(bare)) else None):
            found.setdefault(field, []).append(column)
    for column, name in plain.items():
        if not any(column in named for named in found.values()):
            for word, field in WITHIN.items():
                if field not in found and _holds(column, name, word):
                    found[field] = [column]
                    break
    ids = found.pop("id", [])
    ranked = {field: tuple(sorted(named, key=lambda c: _rank(field, plain[c]))) for field, named in found.items()}
    if "birth_date" in ranked and "birth_year" not in ranked:
        ranked.pop("birth_day", None)
    return Mapping(id=min(ids, key=lambda c: _rank("id", plain[c])) if ids else None, **ranked)


def field_repeats(field: str | None) -> bool:
    """Fields of which a file may have several numbered columns (`phone1`, `phone2`)."""
    return field in {"phone", "email", "street", "street_more"}


def _holds(column: str, name: str, word: str) -> bool:
    """Whether a column's name has this word in it: as a whole, or at the end of a part where it is long enough to be meant."""
    if not word.isascii():
        return word in name
    pieces = [piece for piece in re.split(r"[\W_\d]+|(?<=[a-z])(?=[A-Z])", column) if piece]
    parts = [piece.lower() for piece in pieces]
    if NOT_OF_A_PERSON & set(parts):
        return False
    several = {"".join(parts[start:end]) for start in range(len(parts)) for end in range(start + 1, len(parts) + 1)}
    return word in several or (
        len(word) >= LONG and any(part.startswith(word) or part.endswith(word) for part in parts)
    )


def _rank(field: str, name: str) -> int:
    words = NAMES[field].split()
    return words.index(name) if name in words else len(words)


def _plain(column: str) -> str:
    """Letters and digits alone, in one width and in simplified characters."""
    return re.sub(r"[\W_]+", "", names.simplified(unicodedata.normalize("NFKC", column))).lower()
