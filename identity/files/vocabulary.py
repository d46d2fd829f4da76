"""Words in the names of columns: the usual names of each field, English, Chinese and some others, and what stands around them."""

# Names of columns in letters and digits alone. Earlier ones win; a column serves one field.
NAMES: dict[str, str] = {
    "id": "uniqueid recordid recid rowid customerid userid personid id uid key 编号 客户编号 记录编号 会员号 会员编号 用户编号 用户id 序号",
    "given_name": "firstname givenname forename fname first given fnamec1 名 名字 vorname prenom nombre givennames prenoms nombres voornaam nome fn namefirst namefrst firstnm imie voornamen primeironome nomeproprio",
    "middle_name": "middlename middle mname midlname secondname middleinitial mi fnamec2 中间名",
    "family_name": "surname lastname familyname lname last family lnamec1 姓 姓氏 nachname nom apellido apellidos lastnames familienname nomdefamille primerapellido apellidopaterno achternaam cognome ln namelast lastnm nazwisko sobrenome ultimonome efternamn etternavn efternavn",
    "second_family_name": "secondsurname lnamec2 maternalsurname segundoapellido apellidomaterno",
    "full_name": "fullname name customername personname contactname clientname patientname displayname 姓名 客户姓名 名称 联系人 收货人 收件人 xingming guestname nomecompleto nombrecompleto nombreyapellidos nomcomplet nomeecognome vollstandigername imieinazwisko 氏名 お名前 이름 성명 hoten hovaten фио adsoyad beneficiaryname nameofbeneficiary 會員姓名 会员姓名",
    "birth_date": "dob dateofbirth birthdate birthday birth born datebirth birthdt 出生日期 生日 出生年月日 出生年月 shengri geburtsdatum datedenaissance fechadenacimiento geburtstag datenaissance geboortedatum datadinascita datadenascimento datanascimento nascimento fechanacimiento dataurodzenia 生年月日 생년월일 ngaysinh датарождения dogumtarihi geburtsdat gebdatum geborenam geboren fodselsdato fodelsedatum",
    "birth_year": "birthyear yearofbirth yob by 出生年",
    "birth_month": "birthmonth monthofbirth mob bm 出生月",
    "birth_day": "birthday dayofbirth bd 出生日",
    "age": "age birthage ageyears ageatyearend 年龄 年齡 alter edad leeftijd eta",
    "email": "email emailaddress mail emailid contactemail 邮箱 电子邮箱 电子邮件 邮件 电邮 电子信箱 信箱 youxiang correo adressemail adresseemail courriel correoelectronico メールアドレス メール 이메일 электроннаяпочта eposta 电子邮件信箱 poczta",
    "phone": "phone phonenumber mobile mobilenumber mobilephone telephone tel cell cellphone contactnumber contactno homephone 手机 手机号 手机号码 电话 联系电话 电话号码 移动电话 联系方式 固定电话 座机 shouji shoujihao dianhua telefon telefono telefonnummer handynummer handy mobil portable celular movil telefoonnummer cellulare telefone telmovil telefonomovil telemovel 電話番号 电话番号 携帯電話 携带电话 携帯 전화번호 휴대폰 연락처 đienthoai sođienthoai dienthoai sodienthoai телефон puhelin 行动电话 phonemobile",
    "postal_code": "postcode postalcode zip zipcode postal 邮编 邮政编码 邮递区号 plz postleitzahl codepostal codigopostal cp cap cep kodpocztowy 郵便番号 邮便番号 우편번호 индекс postnummer",
    "city": "city cityname town suburb place locality municipality village villagename birthplace placeofbirth residence 城市 市 地区 所在城市 常住城市 所在地 ort ville ciudad 出生地 县市 wohnort stadt commune woonplaats citta cidade localidad localidade miasto plaats 市区町村 도시 город sehir thanhpho stad kommune",
    "street": "street address postaladdress fulladdress addressfull streetaddress addressline address1 addressline1 streetname addr 地址 住址 详细地址 通讯地址 家庭住址 收货地址 dizhi strasse adresse direccion 现住址 anschrift calle straat indirizzo endereco domicilio morada rua adres ulica 住所 주소 điachi diachi адрес strassenr strassehausnummer",
    "street_number": "streetnumber streetno housenumber houseno hausnummer huisnummer",
    "street_more": "address2 addressline2 apartment unit unitnumber apt",
    "region": "state county province region stateregion stateprovince 省 省份 州 estado provincia uf bundesland voivodeship wojewodztwo 都道府県 都道府县 область",
    "gender": "gender sex 性别 xingbie geschlecht sexe sexo genero sesso plec 性別 성별 пол cinsiyet gioitinh kjonn",
    "occupation": "occupation job profession jobtitle 职业 beruf",
    "national_id": "socsecid ssn socialsecurity socialsecuritynumber nationalid nationalidnumber nino nin passport passportnumber taxid idcard idnumber 身份证 身份证号 身份证号码 证件号码 证件号 driverslicense driverlicense 身分证字号 cpf dni nif nie rut curp pesel codicefiscale cccd cmnd aadhaar pan инн personnummer",
}  # fmt: skip
# Where somebody was born says less of where they live than any other column does.
AT_LAST = {"birthplace", "placeofbirth", "出生地"}
# A longer name that holds one of these words, where no column bears a usual name: postcode_fake, contact_email_1.
WITHIN = {
    "postcode": "postal_code", "zipcode": "postal_code", "postal": "postal_code", "email": "email", "phone": "phone", "mobile": "phone",
    "surname": "family_name", "lastname": "family_name", "familyname": "family_name", "firstname": "given_name", "givenname": "given_name",
    "forename": "given_name", "fullname": "full_name", "birthdate": "birth_date", "dateofbirth": "birth_date", "dob": "birth_date",
    "birthplace": "city", "city": "city", "suburb": "city", "gender": "gender", "occupation": "occupation", "address": "street", "street": "street",
    "手机": "phone", "行动电话": "phone", "电话": "phone", "邮箱": "email", "姓名": "full_name", "出生地": "city", "出生": "birth_date", "邮编": "postal_code", "地址": "street",
}  # fmt: skip
# Words around a usual name that change nothing: primary_name_first, Current State, MailingStreet, city_desc.
OF_SOMEBODY = {"customer", "cust", "client", "contact", "person", "patient", "member", "party"}
AROUND = OF_SOMEBODY | {
    "primary", "current", "default", "main", "permanent", "legal", "home", "residential", "residence", "res", "mailing", "mail", "billing",
    "bill", "desc", "value",
}  # fmt: skip
WHOSE_NAME = OF_SOMEBODY | {"primary", "legal"}  # `home name` is a house
HOW_WRITTEN = {"number", "num", "no", "code", "cd"}  # ssn_number, state_code; but `job code`, `place code`
WRITTEN_SO = {"phone", "postal_code", "region", "gender", "national_id"}
AT_WORK = {"work", "business", "bus", "office"}  # where somebody is reached, not who they are
WRITTEN_SHORT = {"addr": "address", "tel": "phone"}
HALF = {"first", "last", "given", "middle", "family"}  # `last_contact` is no name
TURNED = HALF | {"full"}  # name_first
CONTACTS = {"phone", "email"}
EACH = CONTACTS | {"national_id"}  # several columns of it need not belong together
SOMETHING_ELSE = {  # no person's, another person's, no longer, or about the value
    "ip", "mac", "web", "url", "website", "company", "product", "org", "organization", "employer", "fax", "store", "hotel", "agent", "owner",
    "guarantor", "provider", "emergency", "spouse", "dependent", "mother", "mothers", "father", "previous", "former", "old", "maiden", "type",
    "label", "status", "verified", "valid", "flag", "hash", "accepts", "opt", "optin", "consent", "marketing", "ext", "extension", "country",
}  # fmt: skip
ANOTHERS = ("紧急", "配偶", "父亲", "母亲", "公司", "单位", "门店", "店铺")  # in Chinese they stand within the name
A_PART = ("zip4", "ssn4", "last4")
